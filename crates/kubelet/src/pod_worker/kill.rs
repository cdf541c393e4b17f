//! Stops containers and whole pods, gracefully: preStop within the grace period, then the stop signal, then SIGKILL.

use cri::v1;
use futures_util::future::join_all;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use tracing::warn;

use super::{KillReason, WorkerContext};
use crate::{
    events::EventKind,
    observed::{ContainerState, ObservedContainer, ObservedPod, label},
    pod::{ContainerKind, find_container, init_containers, is_sidecar},
    probes::ProbeType,
};

/// What a container gets at least between its signal and SIGKILL, as upstream grants it.
const MINIMUM_GRACE_SECONDS: i64 = 2;

impl WorkerContext {
    /// Stops all containers of a pod, then its sandboxes. Sidecars stop after the others, the last one first, in what is left of the
    /// grace period.
    pub(super) async fn kill_pod(
        &self,
        pod: &Pod,
        observed: &ObservedPod,
        grace_seconds: i64,
    ) -> Result<(), cri::CriError> {
        let begun = self.clock.now();
        let position = |container: &ObservedContainer| {
            init_containers(pod)
                .iter()
                .position(|init| init.name == container.name && is_sidecar(init))
        };
        let (mut sidecars, others): (Vec<_>, Vec<_>) = observed
            .running()
            .partition(|container| position(container).is_some());
        let stops = others.into_iter().map(|container| {
            self.kill_container(
                pod,
                observed,
                container,
                grace_seconds,
                stopping(&container.name),
            )
        });
        join_all(stops)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        sidecars.sort_by_key(|container| std::cmp::Reverse(position(container)));
        for sidecar in sidecars {
            let passed = self.clock.now().duration_since(begun).as_secs();
            let left = (grace_seconds - passed).max(0);
            self.kill_container(pod, observed, sidecar, left, stopping(&sidecar.name))
                .await?;
        }
        for sandbox in &observed.sandboxes {
            let request = v1::StopPodSandboxRequest {
                pod_sandbox_id: sandbox.id.clone(),
            };
            self.runtime.stop_pod_sandbox(request).await?;
        }
        Ok(())
    }

    /// The grace period for stopping one container of a pod that goes on.
    pub(super) fn grace_for(&self, pod: &Pod, container: &Container, reason: KillReason) -> i64 {
        let of_probe = match reason {
            KillReason::LivenessProbe => container.liveness_probe.as_ref(),
            KillReason::StartupProbe => container.startup_probe.as_ref(),
            KillReason::SpecChanged | KillReason::Resize | KillReason::Unknown => None,
        };
        of_probe
            .and_then(|probe| probe.termination_grace_period_seconds)
            .unwrap_or_else(|| crate::pod::grace_period_seconds(pod))
    }

    /// Stops one container. `message` is the event's.
    pub(super) async fn kill_container(
        &self,
        pod: &Pod,
        observed: &ObservedPod,
        container: &ObservedContainer,
        grace_seconds: i64,
        message: String,
    ) -> Result<(), cri::CriError> {
        let found = find_container(pod, &container.name);
        let kind = found
            .as_ref()
            .map_or(ContainerKind::Regular, |(kind, _)| *kind);
        self.events.container(
            pod,
            kind,
            &container.name,
            EventKind::Normal,
            "Killing",
            message,
        );
        let mut left = grace_seconds;
        if container.state == ContainerState::Running && left > 0 {
            let spec = found
                .map(|(_, container)| container.into_owned())
                .unwrap_or_default();
            if let Some(hook) = pre_stop(&spec, container) {
                left -= self
                    .pre_stop(pod, observed, kind, &spec, container, &hook, left)
                    .await;
            }
        }
        // A container that was asked to stop at once gets no more than that.
        let timeout = if grace_seconds == 0 {
            0
        } else {
            left.max(MINIMUM_GRACE_SECONDS.min(grace_seconds))
        };
        let request = v1::StopContainerRequest {
            container_id: container.id.clone(),
            timeout,
        };
        match self.runtime.stop_container(request).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        for probe in [
            ProbeType::Startup,
            ProbeType::Liveness,
            ProbeType::Readiness,
        ] {
            self.probes.results().remove(&container.id, probe);
        }
        Ok(())
    }

    /// Runs a preStop hook for at most `grace_seconds`; answers the seconds it took.
    #[allow(
        clippy::too_many_arguments,
        reason = "one call, whose parts are all named things"
    )]
    async fn pre_stop(
        &self,
        pod: &Pod,
        observed: &ObservedPod,
        kind: ContainerKind,
        spec: &Container,
        container: &ObservedContainer,
        hook: &LifecycleHandler,
        grace_seconds: i64,
    ) -> i64 {
        let begun = self.clock.now();
        let deadline = begun
            .checked_add(SignedDuration::from_secs(grace_seconds))
            .unwrap_or(begun);
        let ips = self.pod_ips(pod, observed);
        let ip = ips.first().map(String::as_str);
        tokio::select! {
            outcome = self.hooks.run(hook, spec, &container.id, ip) => {
                if let Err(why) = outcome {
                    let message = format!("PreStopHook failed: {why}");
                    self.events.container(pod, kind, &container.name, EventKind::Warning, "FailedPreStopHook", message);
                }
            }
            () = self.clock.sleep_until(deadline) => {
                warn!(container = container.name, grace_seconds, "preStop hook did not end in the grace period");
            }
        }
        self.clock.now().duration_since(begun).as_secs()
    }
}

fn stopping(container: &str) -> String {
    format!("Stopping container {container}")
}

/// The hook of the spec, or the one recorded at the container, for a pod whose spec is lost.
fn pre_stop(spec: &Container, container: &ObservedContainer) -> Option<LifecycleHandler> {
    if !spec.name.is_empty() {
        return spec.lifecycle.as_ref()?.pre_stop.clone();
    }
    serde_json::from_str(container.annotations.get(label::PRE_STOP_HANDLER)?).ok()
}
