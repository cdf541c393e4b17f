//! One pod's worker.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cri::v1;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Backoff, PlanState, PodAction, WorkerContext, backoff_key, context::INITIAL_BACK_OFF,
    go_duration, plan,
};
use crate::{
    allocation::is_resizing,
    events::EventKind,
    observed::{ContainerState, ObservedPod},
    pod::{self, ContainerKind, find_container, format_pod, name, namespace, uid},
    probes::{ProbeResult, ProbeType},
    status::{StatusInputs, generate_status, read_termination_messages},
    volumes::{self, MountedVolume, VolumeContext},
};

/// Looked at again after so long, even if nothing happened: tokens and files are renewed, and what was missed is seen.
const RESYNC: Duration = Duration::from_secs(60);
/// After a sync that failed.
const RETRY: Duration = Duration::from_secs(1);
/// After a step whose failure will not pass soon.
const SLOW_RETRY: Duration = Duration::from_secs(10);

/// A pod is to be stopped although its object does not say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KillRequest {
    /// Shorter than the pod's own grace period.
    pub grace_seconds: Option<i64>,
    /// Phase, reason and message of its status from now on.
    pub verdict: Option<(String, String, String)>,
}

/// What a worker is told.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    pub(super) pod: Arc<Pod>,
    pub(super) kill: Option<KillRequest>,
    /// The pod's object is gone: when it has stopped, forget it.
    pub(super) removed: bool,
}

/// How far a pod's life is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It is to run.
    #[default]
    Sync,
    /// It is being stopped.
    Terminating,
    /// Nothing runs, and nothing will.
    Terminated,
}

/// What a worker shows.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) observed: ObservedPod,
}

/// The worker's ends of what joins it to the others.
pub(super) struct WorkerEnds {
    pub(super) orders: watch::Receiver<Order>,
    pub(super) wake: Arc<Notify>,
    pub(super) view: Arc<Mutex<View>>,
    pub(super) stage: watch::Sender<Stage>,
    /// Whose end is awaited before anything is done.
    pub(super) predecessor: Option<watch::Receiver<Stage>>,
    pub(super) cancel: CancellationToken,
}

pub(super) struct PodWorker {
    context: Arc<WorkerContext>,
    orders: watch::Receiver<Order>,
    wake: Arc<Notify>,
    view: Arc<Mutex<View>>,
    stage: watch::Sender<Stage>,
    predecessor: Option<watch::Receiver<Stage>>,
    cancel: CancellationToken,
    backoff: Backoff,
    waiting: HashMap<String, (String, String)>,
    start_time: Timestamp,
    verdict: Option<(String, String, String)>,
}

impl PodWorker {
    pub(super) fn new(context: Arc<WorkerContext>, ends: WorkerEnds) -> Self {
        let max = SignedDuration::try_from(context.config.max_container_back_off)
            .unwrap_or(SignedDuration::from_secs(300));
        let start_time = context.clock.now();
        let WorkerEnds {
            orders,
            wake,
            view,
            stage,
            predecessor,
            cancel,
        } = ends;
        Self {
            context,
            orders,
            wake,
            view,
            stage,
            predecessor,
            cancel,
            backoff: Backoff::new(INITIAL_BACK_OFF, max),
            waiting: HashMap::new(),
            start_time,
            verdict: None,
        }
    }

    /// Lives as long as the pod does, or until the kubelet stops, which leaves the pod as it is.
    pub(super) async fn run(mut self) {
        let cancel = self.cancel.clone();
        let _ = cancel.run_until_cancelled(Box::pin(self.live())).await;
    }

    async fn live(&mut self) {
        if let Some(mut stage) = self.predecessor.take() {
            let _ = stage.wait_for(|stage| *stage == Stage::Terminated).await;
        }
        while !self.must_stop() {
            let mut orders = self.orders.clone();
            orders.mark_unchanged();
            if self.must_stop() {
                break;
            }
            let stopping = async move {
                let told = |order: &Order| stops(order);
                let _ = orders.wait_for(told).await;
            };
            let pause = tokio::select! {
                pause = self.sync() => pause,
                () = stopping => break,
            };
            self.rest(pause).await;
        }
        self.terminate().await;
        self.clean_up().await;
        self.wait_for_removal().await;
        self.remove_from_runtime().await;
    }

    fn must_stop(&self) -> bool {
        stops(&self.orders.borrow()) || self.verdict.is_some()
    }

    async fn rest(&mut self, pause: Duration) {
        let wake = self.wake.clone();
        tokio::select! {
            () = wake.notified() => {}
            _ = self.orders.changed() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }

    /// The pod as it was ordered, with the resources that this node granted it.
    fn pod(&self) -> Arc<Pod> {
        let ordered = self.orders.borrow().pod.clone();
        self.context.allocation.allocated(&ordered)
    }

    async fn observe(&self, pod: &Pod) -> Result<ObservedPod, cri::CriError> {
        let mut observed = self
            .context
            .view
            .observe(uid(pod), name(pod), namespace(pod))
            .await?;
        read_termination_messages(&mut observed);
        self.view
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .observed = observed.clone();
        Ok(observed)
    }

    fn set_stage(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Looks, reports, plans and acts; answers when to look again.
    async fn sync(&mut self) -> Duration {
        let pod = self.pod();
        let observed = match self.observe(&pod).await {
            Ok(observed) => observed,
            Err(error) => {
                warn!(pod = format_pod(&pod), %error, "cannot ask the runtime");
                return RETRY;
            }
        };
        self.context.probes.sync(&pod, &observed, &self.wake);
        self.context.collect_garbage(&observed).await;
        let actuated = self.context.allocation.actuated(uid(&pod));
        let resizing = is_resizing(&pod, &observed, &actuated);
        self.context.allocation.progress(&pod, resizing);
        let status = self.report(&pod, &observed, Stage::Sync);
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            // It ended by itself: nothing is to be started, and what is left is to be cleaned up.
            self.verdict = Some((String::new(), String::new(), String::new()));
            return Duration::ZERO;
        }
        if let Some(left) = self.deadline(&pod, &status) {
            if left.is_zero() {
                return Duration::ZERO;
            }
            return self.act(&pod, observed).await.min(left);
        }
        self.act(&pod, observed).await
    }

    /// What is left of `activeDeadlineSeconds`.
    fn deadline(&mut self, pod: &Pod, status: &PodStatus) -> Option<Duration> {
        let started = status
            .start_time
            .as_ref()
            .map_or(self.start_time, |time| time.0);
        let deadline = pod::active_deadline(pod, started)?;
        let left = Duration::try_from(deadline.duration_since(self.context.clock.now()))
            .unwrap_or_default();
        if left.is_zero() {
            let message = "Pod was active on the node longer than the specified deadline";
            self.context
                .events
                .pod(pod, EventKind::Normal, "DeadlineExceeded", message);
            self.verdict = Some((
                "Failed".to_owned(),
                "DeadlineExceeded".to_owned(),
                message.to_owned(),
            ));
        }
        Some(left)
    }

    async fn act(&mut self, pod: &Pod, observed: ObservedPod) -> Duration {
        self.context.objects.register(pod);
        let actuated = self.context.allocation.actuated(uid(pod));
        if let Err(error) = self.context.cgroups.ensure(pod, &actuated) {
            let message = format!(
                "failed to ensure that the pod: {} cgroups exist and are correctly applied: {error}",
                uid(pod)
            );
            self.context
                .events
                .pod(pod, EventKind::Warning, "FailedCreatePodContainer", message);
            return SLOW_RETRY;
        }
        let volumes = match self.set_up_volumes(pod, &observed).await {
            Ok(volumes) => volumes,
            Err(error) => {
                for (reason, message) in error.events() {
                    let events = &self.context.events;
                    events.pod(pod, EventKind::Warning, reason, message);
                }
                return RETRY * 2;
            }
        };
        let state = self.plan_state(&observed);
        let actions = plan(pod, &observed, &state, self.context.clock.now());
        self.carry_out(pod, observed, actions, &volumes).await
    }

    async fn set_up_volumes(
        &self,
        pod: &Pod,
        observed: &ObservedPod,
    ) -> Result<HashMap<String, MountedVolume>, volumes::PodVolumeError> {
        let fields = self.context.fields(pod, observed);
        let node = self.context.node_object.borrow().clone();
        volumes::set_up_pod(&VolumeContext {
            pod,
            paths: &self.context.paths,
            objects: &self.context.objects,
            tokens: &self.context.tokens,
            claims: &self.context.claims,
            node: node.as_deref(),
            events: &self.context.events,
            fields: &fields,
            now: self.context.clock.now(),
        })
        .await
    }

    fn plan_state(&self, observed: &ObservedPod) -> PlanState {
        let of = |probe: ProbeType| -> HashMap<String, ProbeResult> {
            let results = self.context.probes.results();
            let result = |id: &str| results.get(id, probe).map(|result| (id.to_owned(), result));
            observed
                .containers
                .iter()
                .filter_map(|container| result(&container.id))
                .collect()
        };
        PlanState {
            backoff: self.backoff.clone(),
            liveness: of(ProbeType::Liveness),
            startup: of(ProbeType::Startup),
            actuated: self.context.allocation.actuated(&observed.uid),
        }
    }

    /// Takes the steps of a plan; answers when to look again.
    async fn carry_out(
        &mut self,
        pod: &Pod,
        mut observed: ObservedPod,
        actions: Vec<PodAction>,
        volumes: &HashMap<String, MountedVolume>,
    ) -> Duration {
        let context = self.context.clone();
        let now = context.clock.now();
        // Longer than any that a step asks for.
        let mut pause = Duration::MAX;
        let mut acted = false;
        for action in actions {
            match action {
                PodAction::KillPod => {
                    let running =
                        observed.running().next().is_some() || observed.ready_sandbox().is_some();
                    if running
                        && let Err(error) = context
                            .kill_pod(pod, &observed, pod::grace_period_seconds(pod))
                            .await
                    {
                        warn!(pod = format_pod(pod), %error, "cannot stop the pod");
                        return RETRY;
                    }
                    acted |= running;
                }
                PodAction::CreateSandbox { attempt } => {
                    if attempt > 0 {
                        context.events.pod(
                            pod,
                            EventKind::Normal,
                            "SandboxChanged",
                            "Pod sandbox changed, it will be killed and re-created.",
                        );
                    }
                    if context.create_sandbox(pod, attempt).await.is_err() {
                        return RETRY * 2;
                    }
                    acted = true;
                    match self.observe(pod).await {
                        Ok(now) => observed = now,
                        Err(_) => return RETRY,
                    }
                    // People see the address before the first container has started.
                    self.report(pod, &observed, Stage::Sync);
                }
                PodAction::KillContainer {
                    id,
                    name,
                    message,
                    reason,
                } => {
                    let Some((_, container)) = find_container(pod, &name) else {
                        continue;
                    };
                    let grace = context.grace_for(pod, &container, reason);
                    let Some(run) = observed.containers.iter().find(|run| run.id == id) else {
                        continue;
                    };
                    if let Err(error) = context
                        .kill_container(pod, &observed, run, grace, message)
                        .await
                    {
                        warn!(pod = format_pod(pod), container = name, %error, "cannot stop the container");
                        return RETRY;
                    }
                    acted = true;
                }
                PodAction::RemoveContainer { id } => {
                    let request = v1::RemoveContainerRequest { container_id: id };
                    if context.runtime.remove_container(request).await.is_err() {
                        return RETRY;
                    }
                }
                PodAction::Resize { containers } => {
                    if let Err(error) = context.resize(pod, &observed, &containers).await {
                        context.allocation.fail(pod, &error);
                        pause = pause.min(SLOW_RETRY);
                    }
                    acted = true;
                }
                PodAction::BackOff { kind, name, until } => {
                    pause = pause.min(self.back_off(pod, kind, &name, until, now));
                }
                PodAction::StartContainer { kind, name } => {
                    acted = true;
                    if let Some(retry) = self.start(pod, kind, &name, &observed, volumes).await {
                        pause = pause.min(retry);
                    }
                }
            }
        }
        if acted {
            // What was done is to be seen and told at once, not when the runtime's event arrives.
            if let Ok(observed) = self.observe(pod).await {
                self.context.probes.sync(pod, &observed, &self.wake);
                let actuated = self.context.allocation.actuated(uid(pod));
                let resizing = is_resizing(pod, &observed, &actuated);
                self.context.allocation.progress(pod, resizing);
                self.report(pod, &observed, Stage::Sync);
                let next = plan(
                    pod,
                    &observed,
                    &self.plan_state(&observed),
                    self.context.clock.now(),
                );
                let more = next
                    .iter()
                    .any(|action| matches!(action, PodAction::StartContainer { .. }));
                if more && pause == Duration::MAX {
                    return Duration::ZERO;
                }
            }
        } else {
            self.report(pod, &observed, Stage::Sync);
        }
        pause.min(RESYNC)
    }

    fn back_off(
        &mut self,
        pod: &Pod,
        kind: ContainerKind,
        name: &str,
        until: Timestamp,
        now: Timestamp,
    ) -> Duration {
        let Some((_, container)) = find_container(pod, name) else {
            return RESYNC;
        };
        let delay = go_duration(self.backoff.delay(&backoff_key(&container)));
        let message = format!(
            "back-off {delay} restarting failed container={name} pod={}",
            format_pod(pod)
        );
        let event = format!(
            "Back-off restarting failed container {name} in pod {}",
            format_pod(pod)
        );
        self.context
            .events
            .container(pod, kind, name, EventKind::Warning, "BackOff", event);
        self.waiting
            .insert(name.to_owned(), ("CrashLoopBackOff".to_owned(), message));
        Duration::try_from(until.duration_since(now)).unwrap_or(RETRY)
    }

    /// Starts a container; answers when to try again if it failed.
    async fn start(
        &mut self,
        pod: &Pod,
        kind: ContainerKind,
        name: &str,
        observed: &ObservedPod,
        volumes: &HashMap<String, MountedVolume>,
    ) -> Option<Duration> {
        let (_, container) = find_container(pod, name)?;
        let ended = observed
            .runs(name)
            .find(|run| run.state == ContainerState::Exited)
            .and_then(|run| run.finished_at);
        if let Some(ended) = ended {
            self.backoff
                .next(&backoff_key(&container), ended, self.context.clock.now());
        }
        match self
            .context
            .start_container(pod, kind, &container, observed, volumes)
            .await
        {
            Ok(()) => {
                self.waiting.remove(name);
                None
            }
            Err(error) => {
                info!(
                    pod = format_pod(pod),
                    container = name,
                    reason = error.reason,
                    error.message,
                    "container not started"
                );
                self.waiting
                    .insert(name.to_owned(), (error.reason.to_owned(), error.message));
                Some(error.retry_after.unwrap_or(SLOW_RETRY))
            }
        }
    }

    fn report(&self, pod: &Pod, observed: &ObservedPod, stage: Stage) -> PodStatus {
        let context = &self.context;
        let previous = context
            .status
            .get(uid(pod))
            .or_else(|| pod.status.clone())
            .unwrap_or_default();
        let (ready, started) = context.probes.verdicts(pod, observed);
        let verdict = self
            .orders
            .borrow()
            .kill
            .as_ref()
            .and_then(|kill| kill.verdict.clone());
        let own = self.verdict.clone().filter(|(phase, ..)| !phase.is_empty());
        let inputs = StatusInputs {
            now: context.clock.now(),
            start_time: Some(self.start_time),
            host_ips: context.node.ips.clone(),
            runtime_name: context.node.runtime_name.clone(),
            waiting: self.waiting.clone(),
            ready,
            started,
            previous,
            // A verdict counts when nothing runs any more: until then the pod is what it is.
            verdict: verdict.or(own).filter(|_| stage == Stage::Terminated),
            resize: context.allocation.conditions(uid(pod)),
            actuated: context.allocation.actuated(uid(pod)),
            terminating: stage >= Stage::Terminating,
            terminated: stage == Stage::Terminated,
        };
        let status = generate_status(pod, observed, &inputs);
        context.status.set(pod, status.clone());
        status
    }

    fn grace_seconds(&self) -> i64 {
        let order = self.orders.borrow();
        let own = pod::grace_period_seconds(&order.pod);
        order
            .kill
            .as_ref()
            .and_then(|kill| kill.grace_seconds)
            .map_or(own, |grace| grace.min(own))
    }

    /// Stops the pod, and does not give up. A shorter grace period, told meanwhile, counts at once.
    async fn terminate(&mut self) {
        self.set_stage(Stage::Terminating);
        loop {
            let pod = self.pod();
            self.context.probes.stop_liveness(uid(&pod));
            let Ok(observed) = self.observe(&pod).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            self.report(&pod, &observed, Stage::Terminating);
            let grace = self.grace_seconds();
            let mut orders = self.orders.clone();
            let shorter = async {
                loop {
                    if orders.changed().await.is_err() {
                        return std::future::pending().await;
                    }
                    if self.grace_seconds() < grace {
                        return;
                    }
                }
            };
            let outcome = tokio::select! {
                outcome = self.context.kill_pod(&pod, &observed, grace) => outcome,
                () = shorter => continue,
            };
            if let Err(error) = outcome {
                warn!(pod = format_pod(&pod), %error, "cannot stop the pod");
                tokio::time::sleep(RETRY).await;
                continue;
            }
            match self.observe(&pod).await {
                Ok(observed) if observed.running().next().is_none() => return,
                _ => tokio::time::sleep(RETRY / 5).await,
            }
        }
    }

    /// Gives back what a stopped pod held, tells its end, and lets its deletion end.
    async fn clean_up(&mut self) {
        let pod = self.pod();
        self.context.probes.remove(uid(&pod));
        let observed = match self.observe(&pod).await {
            Ok(observed) => observed,
            Err(_) => self
                .view
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .observed
                .clone(),
        };
        self.report(&pod, &observed, Stage::Terminated);
        loop {
            let (paths, cgroups, gone) = (
                self.context.paths.clone(),
                self.context.cgroups.clone(),
                pod.clone(),
            );
            // Volumes may be large, and processes die slowly: the disk's and the kernel's time, not the executor's.
            let removed = tokio::task::spawn_blocking(move || {
                volumes::tear_down_pod(&paths, uid(&gone))?;
                cgroups.remove(&gone)
            });
            match removed
                .await
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
            {
                Ok(()) => break,
                Err(error) => {
                    warn!(pod = format_pod(&pod), %error, "cannot clean up after the pod")
                }
            }
            tokio::time::sleep(RETRY).await;
        }
        self.context.objects.unregister(uid(&pod));
        self.context.tokens.forget(uid(&pod));
        self.context.claims.forget(uid(&pod));
        self.context.images.forget(uid(&pod));
        self.context.allocation.forget(uid(&pod));
        self.context.users.release(uid(&pod));
        self.set_stage(Stage::Terminated);
        self.context.status.finish_deletion(&pod);
    }

    async fn wait_for_removal(&mut self) {
        let _ = self.orders.wait_for(|order| order.removed).await;
    }

    /// Removes what the runtime keeps of a pod that is no more, and its logs.
    async fn remove_from_runtime(&mut self) {
        let pod = self.pod();
        loop {
            let Ok(observed) = self.observe(&pod).await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let mut well = true;
            for container in &observed.containers {
                let request = v1::RemoveContainerRequest {
                    container_id: container.id.clone(),
                };
                well &= self.context.runtime.remove_container(request).await.is_ok();
            }
            for sandbox in &observed.sandboxes {
                let request = v1::RemovePodSandboxRequest {
                    pod_sandbox_id: sandbox.id.clone(),
                };
                well &= self
                    .context
                    .runtime
                    .remove_pod_sandbox(request)
                    .await
                    .is_ok();
            }
            if well {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        let logs = self.context.paths.pod_logs(&pod);
        match std::fs::remove_dir_all(&logs) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                warn!(path = %logs.display(), %error, "cannot remove the pod's logs");
            }
            _ => {}
        }
        self.context.status.remove(uid(&pod));
    }
}

fn stops(order: &Order) -> bool {
    order.removed || order.kill.is_some() || order.pod.metadata.deletion_timestamp.is_some()
}
