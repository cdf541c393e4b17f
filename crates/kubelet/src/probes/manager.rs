//! One task for each probe of each running container.
//!
//! As upstream's, a worker that looks at a pod whose container is not ready has its readiness asked at once, and the period counts anew
//! from there.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::{TaskGroup, metrics::Registry};
use cri::RuntimeService;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{
    ProbeResult, ProbeResults, ProbeState, ProbeType,
    early::EarlyAttempts,
    handler::{Answer, probe},
    metrics::{Outcome, ProbeMetrics},
};
use crate::{
    events::{EventKind, PodEvents},
    observed::{ContainerState, ObservedPod},
    pod::{ContainerKind, containers, host_network, init_containers, is_sidecar, uid},
};

/// A probe of one run of a container.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    pod_uid: String,
    container_id: String,
    probe: ProbeType,
}

/// The task of a probe, as the manager holds it.
#[derive(Debug)]
struct Running {
    cancel: CancellationToken,
    /// Asks now rather than at the next tick.
    ask: Arc<Notify>,
}

/// Runs probes. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct ProbeManager {
    runtime: Arc<dyn RuntimeService>,
    results: ProbeResults,
    events: PodEvents,
    tasks: TaskGroup,
    running: Arc<Mutex<HashMap<Key, Running>>>,
    node_ip: String,
    metrics: ProbeMetrics,
}

impl ProbeManager {
    /// Probes run in `tasks`, and are counted in `registry`; `node_ip` is where pods on the node's network are asked.
    pub fn new(
        runtime: Arc<dyn RuntimeService>,
        events: PodEvents,
        tasks: TaskGroup,
        node_ip: String,
        registry: &Registry,
    ) -> Self {
        Self {
            runtime,
            results: ProbeResults::default(),
            events,
            tasks,
            running: Arc::default(),
            node_ip,
            metrics: ProbeMetrics::new(registry),
        }
    }

    /// What probes found.
    pub fn results(&self) -> &ProbeResults {
        &self.results
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Containers with probes: regular ones and sidecars.
    fn probed(pod: &Pod) -> impl Iterator<Item = (ContainerKind, &Container)> {
        let sidecars = init_containers(pod)
            .iter()
            .filter(|container| is_sidecar(container));
        let regular = containers(pod)
            .iter()
            .map(|container| (ContainerKind::Regular, container));
        sidecars
            .map(|container| (ContainerKind::Init, container))
            .chain(regular)
    }

    /// Begins to probe what runs, and ends to probe what does not. New results wake the worker.
    pub fn sync(&self, pod: &Pod, observed: &ObservedPod, wake: &Arc<Notify>) {
        let mut wanted = HashSet::new();
        for (kind, container) in Self::probed(pod) {
            let Some(run) = observed.container(&container.name) else {
                continue;
            };
            if run.state != ContainerState::Running {
                continue;
            }
            let probes = [
                (ProbeType::Startup, &container.startup_probe),
                (ProbeType::Liveness, &container.liveness_probe),
                (ProbeType::Readiness, &container.readiness_probe),
            ];
            for (type_, probe) in probes {
                let Some(probe) = probe else { continue };
                let key = Key {
                    pod_uid: uid(pod).to_owned(),
                    container_id: run.id.clone(),
                    probe: type_,
                };
                wanted.insert(key.clone());
                let mut running = self.lock();
                if let Some(running) = running.get(&key) {
                    if type_ == ProbeType::Readiness
                        && self.results.get(&run.id, type_) != Some(ProbeResult::Success)
                    {
                        running.ask.notify_one();
                    }
                    continue;
                }
                let (cancel, ask) = (self.tasks.token().child_token(), Arc::new(Notify::new()));
                running.insert(
                    key.clone(),
                    Running {
                        cancel: cancel.clone(),
                        ask: ask.clone(),
                    },
                );
                let ip = if host_network(pod) {
                    self.node_ip.clone()
                } else {
                    observed
                        .ready_sandbox()
                        .and_then(|sandbox| sandbox.ips.first().cloned())
                        .unwrap_or_default()
                };
                let mut state = ProbeState::new(probe, type_);
                let passed = was_passed(pod, &key);
                if passed {
                    state.adopt();
                }
                // Not by the worker: whoever asks for verdicts next must not find a ready container without a result.
                self.results.set(&run.id, type_, state.result());
                if type_ == ProbeType::Startup && passed {
                    continue;
                }
                let worker = Worker {
                    manager: self.clone(),
                    pod: pod.clone(),
                    kind,
                    container: container.clone(),
                    state,
                    early: EarlyAttempts::new(probe, type_, passed),
                    probe: probe.clone(),
                    key,
                    pod_ip: ip,
                    wake: wake.clone(),
                    ask,
                    started_at: run.started_at,
                };
                self.tasks.spawn("probe", async move {
                    let _ = cancel.run_until_cancelled(Box::pin(worker.run())).await;
                });
            }
        }
        self.stop(|key| key.pod_uid == uid(pod) && !wanted.contains(key));
    }

    /// A pod that stops is not restarted for its probes; readiness goes on to be told.
    pub fn stop_liveness(&self, pod_uid: &str) {
        self.stop(|key| key.pod_uid == pod_uid && key.probe != ProbeType::Readiness);
    }

    /// Forgets a pod.
    pub fn remove(&self, pod_uid: &str) {
        self.stop(|key| key.pod_uid == pod_uid);
        self.metrics.forget(pod_uid);
    }

    fn stop(&self, which: impl Fn(&Key) -> bool) {
        self.lock().retain(|key, running| {
            let stop = which(key);
            if stop {
                running.cancel.cancel();
                self.results.remove(&key.container_id, key.probe);
            }
            !stop
        });
    }

    /// By container id: whether it is ready, and whether it has started.
    pub fn verdicts(
        &self,
        pod: &Pod,
        observed: &ObservedPod,
    ) -> (HashMap<String, bool>, HashMap<String, bool>) {
        let (mut ready, mut started) = (HashMap::new(), HashMap::new());
        for (_, container) in Self::probed(pod) {
            let Some(run) = observed.container(&container.name) else {
                continue;
            };
            let passed = |type_| self.results.get(&run.id, type_) == Some(ProbeResult::Success);
            let has_started = container.startup_probe.is_none() || passed(ProbeType::Startup);
            started.insert(run.id.clone(), has_started);
            let is_ready = container.readiness_probe.is_none() || passed(ProbeType::Readiness);
            ready.insert(run.id.clone(), has_started && is_ready);
        }
        (ready, started)
    }
}

struct Worker {
    manager: ProbeManager,
    pod: Pod,
    kind: ContainerKind,
    container: Container,
    probe: Probe,
    state: ProbeState,
    early: EarlyAttempts,
    key: Key,
    pod_ip: String,
    wake: Arc<Notify>,
    ask: Arc<Notify>,
    started_at: Option<jiff::Timestamp>,
}

impl Worker {
    async fn run(mut self) {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value
                    .and_then(|value| u64::try_from(value).ok())
                    .unwrap_or(default),
            )
        };
        let period = seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1));
        let delay = seconds(self.probe.initial_delay_seconds, 0);
        // The delay counts from the container's start, which may be long ago for a kubelet that was restarted.
        let age = self
            .started_at
            .and_then(|started| {
                Duration::try_from(jiff::Timestamp::now().duration_since(started)).ok()
            })
            .unwrap_or_default();
        tokio::time::sleep(delay.saturating_sub(age)).await;
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if self.must_wait() {
                // Until the startup probe has passed, the other two are silent; its success is looked for often.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.ask.notified() => ticks.reset(),
            }
            let answer = probe(
                &self.manager.runtime,
                &self.probe,
                &self.container,
                &self.key.container_id,
                &self.pod_ip,
            )
            .await;
            let outcome = match &answer {
                Answer::Success | Answer::Warning(_) => Outcome::Successful,
                Answer::Failure(_) => Outcome::Failed,
                Answer::Unknown(_) => Outcome::Unknown,
            };
            let metrics = &self.manager.metrics;
            metrics.count(&self.pod, &self.container.name, self.key.probe, outcome);
            let success = match answer {
                Answer::Success => {
                    self.early.end();
                    true
                }
                Answer::Warning(message) => {
                    self.event(
                        "ProbeWarning",
                        &format!("{} probe warning: {message}", self.key.probe.as_str()),
                    );
                    self.early.end();
                    true
                }
                Answer::Failure(message) => {
                    if let Some(pause) = self.early.after_failure(period) {
                        ticks.reset_after(pause);
                        continue;
                    }
                    self.event(
                        "Unhealthy",
                        &format!("{} probe failed: {message}", self.key.probe.as_str()),
                    );
                    false
                }
                Answer::Unknown(message) => {
                    self.event(
                        "Unhealthy",
                        &format!("{} probe errored: {message}", self.key.probe.as_str()),
                    );
                    continue;
                }
            };
            let result = self.state.answer(success);
            self.publish(result);
            let done = match self.key.probe {
                // Passed once is passed for good; a failed one means that the container is being killed.
                ProbeType::Startup => result != ProbeResult::Unknown,
                ProbeType::Liveness => result == ProbeResult::Failure,
                ProbeType::Readiness => false,
            };
            if done {
                return;
            }
        }
    }

    fn must_wait(&self) -> bool {
        self.key.probe != ProbeType::Startup
            && self.container.startup_probe.is_some()
            && self
                .manager
                .results
                .get(&self.key.container_id, ProbeType::Startup)
                != Some(ProbeResult::Success)
    }

    fn publish(&self, result: ProbeResult) {
        if self
            .manager
            .results
            .set(&self.key.container_id, self.key.probe, result)
        {
            self.wake.notify_one();
        }
    }

    fn event(&self, reason: &str, message: &str) {
        self.manager.events.container(
            &self.pod,
            self.kind,
            &self.container.name,
            EventKind::Warning,
            reason,
            message,
        );
    }
}

/// Whether the API remembers this very run as started or ready: a restarted kubelet does not take it back.
fn was_passed(pod: &Pod, key: &Key) -> bool {
    let Some(status) = &pod.status else {
        return false;
    };
    let lists = [&status.container_statuses, &status.init_container_statuses];
    lists.into_iter().flatten().flatten().any(|status| {
        let same = status
            .container_id
            .as_deref()
            .is_some_and(|id| id.ends_with(&key.container_id));
        same && match key.probe {
            ProbeType::Startup => status.started == Some(true),
            ProbeType::Readiness => status.ready,
            ProbeType::Liveness => true,
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{observed::ObservedContainer, testing::FakeRuntime};

    #[tokio::test]
    async fn what_was_ready_is_ready_for_the_next_kubelet_before_any_probe_has_run() {
        let probe = json!({"tcpSocket": {"port": 1}});
        let container = |name: &str| json!({"name": name, "startupProbe": probe, "livenessProbe": probe, "readinessProbe": probe});
        let status = |name: &str, passed: bool| {
            json!({"name": name, "containerID": format!("ironclad://{name}-id"), "started": passed, "ready": passed,
                   "image": "", "imageID": "", "restartCount": 0})
        };
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"containers": [container("old"), container("new")]},
            "status": {"containerStatuses": [status("old", true), status("new", false)]},
        }))
        .unwrap();
        let run = |name: &str| ObservedContainer {
            id: format!("{name}-id"),
            name: name.to_owned(),
            state: ContainerState::Running,
            ..Default::default()
        };
        let observed = ObservedPod {
            containers: vec![run("old"), run("new")],
            ..Default::default()
        };
        let cancel = CancellationToken::new();
        let manager = ProbeManager::new(
            Arc::new(FakeRuntime::new(base::Clock::system())),
            PodEvents::new(None),
            TaskGroup::new(&cancel),
            "127.0.0.1".to_owned(),
            &Registry::default(),
        );

        manager.sync(&pod, &observed, &Arc::default());

        let expected = HashMap::from([("old-id".to_owned(), true), ("new-id".to_owned(), false)]);
        assert_eq!(
            manager.verdicts(&pod, &observed),
            (expected.clone(), expected)
        );
        cancel.cancel();
    }
}
