//! What is to be done to bring one pod from what the runtime shows to what its spec wants. Pure: no I/O, no clock.
//!
//! The order of decisions follows upstream's `computePodActions`: the sandbox first, then ephemeral containers, then init
//! containers one after the other (sidecars stay up and let the next one go on once they have started), then regular containers.
//! A plan is computed afresh at every sync from what is seen, never resumed.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::{
    backoff::Backoff,
    restart_policy::{never_restarts, restarts_after_exit, should_start},
};
use crate::{
    allocation::{ContainerResize, PodResources, container_resize, pod_resizes},
    observed::{ContainerState, ObservedContainer, ObservedPod},
    pod::{
        ContainerKind, container_hash, containers, ephemeral_containers, host_network,
        init_containers, is_sidecar,
    },
    probes::ProbeResult,
};

/// One step. Steps are taken in order; starts are independent of each other, a failed step of another sort ends the sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodAction {
    /// Stop all containers, then all sandboxes.
    KillPod,
    /// Make a sandbox.
    CreateSandbox {
        /// Number of the try.
        attempt: u32,
    },
    /// Stop one container, gracefully.
    KillContainer {
        /// Id in the runtime.
        id: String,
        /// Name.
        name: String,
        /// For the event: `Container web failed liveness probe, will be restarted`.
        message: String,
        /// Why.
        reason: KillReason,
    },
    /// Remove an exited or never started container that is in the way.
    RemoveContainer {
        /// Id in the runtime.
        id: String,
    },
    /// Give the pod's cgroups what was allocated to it.
    Resize {
        /// Ids and names of running containers, and the limit of memory of those whose limit gets lower.
        containers: Vec<(String, String, Option<i64>)>,
    },
    /// Pull the image, create and start.
    StartContainer {
        /// Which list it is in.
        kind: ContainerKind,
        /// Name.
        name: String,
    },
    /// Do not start yet.
    BackOff {
        /// Which list it is in.
        kind: ContainerKind,
        /// Name.
        name: String,
        /// Look again then.
        until: Timestamp,
    },
}

/// Why a container is stopped, which decides about its grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// Its resize policy asks for a restart.
    Resize,
    /// Its startup probe failed.
    StartupProbe,
    /// Its liveness probe failed.
    LivenessProbe,
    /// Its name or image changed.
    SpecChanged,
    /// The runtime does not know its state.
    Unknown,
}

/// What the kubelet knows of a pod beside the runtime's view.
#[derive(Clone, Debug)]
pub struct PlanState {
    /// CrashLoopBackOff, by [`backoff_key`].
    pub backoff: Backoff,
    /// Liveness by container id; absent: unknown, which is alive.
    pub liveness: HashMap<String, ProbeResult>,
    /// Startup by container id; absent: unknown, which is not started if there is a startup probe.
    pub startup: HashMap<String, ProbeResult>,
    /// What the pod's cgroups have.
    pub actuated: PodResources,
}

/// The key of a container's back-off: a change of its spec starts over.
pub fn backoff_key(container: &Container) -> String {
    format!("{}_{:x}", container.name, container_hash(container))
}

/// The plan for a pod that is to run.
pub fn plan(
    pod: &Pod,
    observed: &ObservedPod,
    state: &PlanState,
    now: Timestamp,
) -> Vec<PodAction> {
    let planner = Planner {
        pod,
        observed,
        state,
        now,
    };
    match planner.next_sandbox() {
        Some(attempt) => planner.with_new_sandbox(attempt),
        None => planner.in_sandbox(),
    }
}

struct Planner<'a> {
    pod: &'a Pod,
    observed: &'a ObservedPod,
    state: &'a PlanState,
    now: Timestamp,
}

/// How far the init containers are.
struct InitProgress {
    done: bool,
    actions: Vec<PodAction>,
    /// An init container failed and may not be run again.
    failed: bool,
}

impl Planner<'_> {
    /// The attempt of the sandbox to make, if the present one does not do.
    fn next_sandbox(&self) -> Option<u32> {
        let Some(newest) = self.observed.sandboxes.first() else {
            return Some(0);
        };
        let ready = self
            .observed
            .sandboxes
            .iter()
            .filter(|sandbox| sandbox.ready)
            .count();
        let network_changed = newest.host_network != host_network(self.pod);
        let no_address = newest.ips.is_empty() && !host_network(self.pod);
        (ready > 1 || !newest.ready || network_changed || no_address).then_some(newest.attempt + 1)
    }

    fn with_new_sandbox(&self, attempt: u32) -> Vec<PodAction> {
        let kill_old =
            if self.observed.sandboxes.is_empty() && self.observed.running().next().is_none() {
                None
            } else {
                Some(PodAction::KillPod)
            };
        let to_start: Vec<&Container> = containers(self.pod)
            .iter()
            .filter(|container| {
                // Its sandbox is gone, so what the runtime believes to run, does not.
                let newest = self.observed.container(&container.name);
                match newest {
                    Some(run) if run.state == ContainerState::Exited => {
                        should_start(self.pod, container, newest)
                    }
                    Some(_) => !never_restarts(self.pod, container),
                    None => {
                        attempt == 0 || !self.ran_before() || !never_restarts(self.pod, container)
                    }
                }
            })
            .collect();
        if to_start.is_empty() || self.pod.metadata.deletion_timestamp.is_some() {
            return kill_old.into_iter().collect();
        }
        let mut plan: Vec<_> = kill_old.into_iter().collect();
        plan.push(PodAction::CreateSandbox { attempt });
        // Everything starts over in a new sandbox, init containers too.
        match init_containers(self.pod).first() {
            Some(first) => self.start(&mut plan, ContainerKind::Init, first),
            None => {
                for container in to_start {
                    self.start(&mut plan, ContainerKind::Regular, container);
                }
            }
        }
        plan
    }

    /// Whether any container of the pod was created under an earlier sandbox.
    fn ran_before(&self) -> bool {
        !self.observed.containers.is_empty()
    }

    fn in_sandbox(&self) -> Vec<PodAction> {
        let mut plan = Vec::new();
        for ephemeral in ephemeral_containers(self.pod) {
            if self.observed.container(&ephemeral.name).is_none() {
                let name = ephemeral.name.clone();
                plan.push(PodAction::StartContainer {
                    kind: ContainerKind::Ephemeral,
                    name,
                });
            }
        }
        let init = self.init_progress();
        if init.failed {
            return vec![PodAction::KillPod];
        }
        let init_actions = init.actions;
        plan.extend(self.resize());
        if !init.done {
            plan.extend(init_actions);
            return plan;
        }
        let mut regular = Vec::new();
        let mut kept = 0;
        for container in containers(self.pod) {
            kept += usize::from(self.regular(&mut regular, container));
        }
        if kept == 0 && regular.is_empty() {
            // All have ended for good; sidecars end with them.
            return vec![PodAction::KillPod];
        }
        plan.extend(init_actions);
        plan.extend(regular);
        plan
    }

    /// Changes of cgroups of containers that run and stay.
    fn resize(&self) -> Option<PodAction> {
        let mut smaller = Vec::new();
        let mut others = Vec::new();
        for container in containers(self.pod).iter().chain(init_containers(self.pod)) {
            let run = self.observed.container(&container.name);
            let Some(run) = run.filter(|run| run.state == ContainerState::Running) else {
                continue;
            };
            let resize = container_resize(container, &self.state.actuated);
            if let Some(ContainerResize::InPlace { memory_below }) = resize {
                let entry = (run.id.clone(), run.name.clone(), memory_below);
                // Who gives goes before who takes.
                if memory_below.is_some() {
                    smaller.push(entry);
                } else {
                    others.push(entry);
                }
            }
        }
        smaller.extend(others);
        let needed = !smaller.is_empty() || pod_resizes(self.pod, &self.state.actuated);
        needed.then_some(PodAction::Resize {
            containers: smaller,
        })
    }

    /// Plans one regular container; says whether a running one is kept.
    fn regular(&self, plan: &mut Vec<PodAction>, container: &Container) -> bool {
        let newest = self.observed.container(&container.name);
        let Some(run) = newest else {
            if should_start(self.pod, container, None) {
                self.start(plan, ContainerKind::Regular, container);
            }
            return false;
        };
        match run.state {
            ContainerState::Running => {
                let Some((reason, message)) = self.kill_reason(container, run) else {
                    return true;
                };
                let of_spec = matches!(reason, KillReason::SpecChanged | KillReason::Resize);
                let restarts = of_spec || !never_restarts(self.pod, container);
                let then = if reason == KillReason::Resize {
                    message
                } else if restarts {
                    format!("{message}, will be restarted")
                } else {
                    message
                };
                plan.push(self.kill(run, reason, then));
                if restarts {
                    self.start(plan, ContainerKind::Regular, container);
                }
                false
            }
            ContainerState::Unknown => {
                let message = "Container is in \"Unknown\" state, try killing it before restart";
                plan.push(self.kill(run, KillReason::Unknown, message.to_owned()));
                self.start(plan, ContainerKind::Regular, container);
                false
            }
            ContainerState::Created | ContainerState::Exited => {
                if should_start(self.pod, container, newest) {
                    if run.state == ContainerState::Created {
                        // Its start never came, or failed: this run will never be.
                        plan.push(PodAction::RemoveContainer { id: run.id.clone() });
                    }
                    self.start(plan, ContainerKind::Regular, container);
                }
                false
            }
        }
    }

    /// Why a running container cannot stay.
    fn kill_reason(
        &self,
        container: &Container,
        run: &ObservedContainer,
    ) -> Option<(KillReason, String)> {
        let name = &container.name;
        if run
            .hash
            .is_some_and(|hash| hash != container_hash(container))
        {
            return Some((
                KillReason::SpecChanged,
                format!("Container {name} definition changed"),
            ));
        }
        if container_resize(container, &self.state.actuated) == Some(ContainerResize::Restart) {
            return Some((
                KillReason::Resize,
                format!("Container {name} resize requires restart"),
            ));
        }
        if self.state.startup.get(&run.id) == Some(&ProbeResult::Failure) {
            return Some((
                KillReason::StartupProbe,
                format!("Container {name} failed startup probe"),
            ));
        }
        if self.state.liveness.get(&run.id) == Some(&ProbeResult::Failure) {
            return Some((
                KillReason::LivenessProbe,
                format!("Container {name} failed liveness probe"),
            ));
        }
        None
    }

    fn init_progress(&self) -> InitProgress {
        let list = init_containers(self.pod);
        let sandbox = self
            .observed
            .sandboxes
            .first()
            .map(|sandbox| sandbox.id.as_str());
        let of_sandbox =
            |run: &&ObservedContainer| sandbox.is_none_or(|sandbox| run.sandbox_id == sandbox);
        let runs: HashMap<&str, &ObservedContainer> =
            // From the oldest to the newest, so that the newest stays.
            self.observed.containers.iter().rev().filter(of_sandbox).map(|run| (run.name.as_str(), run)).collect();
        let here = |name: &str| runs.get(name).copied();
        let mut progress = InitProgress {
            done: true,
            actions: Vec::new(),
            failed: false,
        };
        // Once a regular container exists in this sandbox, initialisation is behind us, whatever was cleaned up since.
        let initialized = containers(self.pod)
            .iter()
            .any(|container| here(&container.name).is_some());
        // The last one that has a run: all before it are done, even if their runs were cleaned up.
        let last_with_run = list
            .iter()
            .rposition(|container| here(&container.name).is_some());
        for (index, container) in list.iter().enumerate() {
            let passed = initialized || last_with_run.is_some_and(|last| index < last);
            let run = here(&container.name);
            if is_sidecar(container) {
                let started = self.sidecar(&mut progress.actions, container, run);
                if !passed && !started {
                    progress.done = false;
                    return progress;
                }
                continue;
            }
            if passed {
                continue;
            }
            match run.map(|run| (run, run.state)) {
                None => self.start(&mut progress.actions, ContainerKind::Init, container),
                Some((run, ContainerState::Running)) => {
                    if let Some((KillReason::SpecChanged, message)) =
                        self.kill_reason(container, run)
                    {
                        progress
                            .actions
                            .push(self.kill(run, KillReason::SpecChanged, message));
                    }
                }
                Some((run, ContainerState::Created)) => {
                    progress
                        .actions
                        .push(PodAction::RemoveContainer { id: run.id.clone() });
                    self.start(&mut progress.actions, ContainerKind::Init, container);
                }
                Some((run, ContainerState::Unknown)) => {
                    let message =
                        "Init container is in \"Unknown\" state, try killing it before restart";
                    progress
                        .actions
                        .push(self.kill(run, KillReason::Unknown, message.to_owned()));
                    self.start(&mut progress.actions, ContainerKind::Init, container);
                }
                Some((run, ContainerState::Exited)) if run.exit_code == 0 => continue,
                Some((run, ContainerState::Exited)) => {
                    if restarts_after_exit(self.pod, container, run.exit_code) {
                        self.start(&mut progress.actions, ContainerKind::Init, container);
                    } else {
                        progress.failed = true;
                    }
                }
            }
            progress.done = false;
            return progress;
        }
        progress
    }

    /// Keeps a sidecar up; says whether it has started, so that the next container may.
    fn sidecar(
        &self,
        plan: &mut Vec<PodAction>,
        container: &Container,
        run: Option<&ObservedContainer>,
    ) -> bool {
        let Some(run) = run else {
            self.start(plan, ContainerKind::Init, container);
            return false;
        };
        match run.state {
            ContainerState::Running => {
                if let Some((reason, message)) = self.kill_reason(container, run) {
                    plan.push(self.kill(run, reason, format!("{message}, will be restarted")));
                    self.start(plan, ContainerKind::Init, container);
                    return false;
                }
                container.startup_probe.is_none()
                    || self.state.startup.get(&run.id) == Some(&ProbeResult::Success)
            }
            ContainerState::Created => {
                plan.push(PodAction::RemoveContainer { id: run.id.clone() });
                self.start(plan, ContainerKind::Init, container);
                false
            }
            ContainerState::Unknown => {
                let message =
                    "Init container is in \"Unknown\" state, try killing it before restart";
                plan.push(self.kill(run, KillReason::Unknown, message.to_owned()));
                self.start(plan, ContainerKind::Init, container);
                false
            }
            ContainerState::Exited => {
                self.start(plan, ContainerKind::Init, container);
                false
            }
        }
    }

    fn kill(&self, run: &ObservedContainer, reason: KillReason, message: String) -> PodAction {
        PodAction::KillContainer {
            id: run.id.clone(),
            name: run.name.clone(),
            message,
            reason,
        }
    }

    /// Starts a container, unless it has to wait for its back-off.
    fn start(&self, plan: &mut Vec<PodAction>, kind: ContainerKind, container: &Container) {
        let name = container.name.clone();
        let ended = self
            .observed
            .runs(&name)
            .find(|run| run.state == ContainerState::Exited)
            .and_then(|run| run.finished_at);
        let wait = ended.and_then(|ended| {
            self.state
                .backoff
                .waits_until(&backoff_key(container), ended, self.now)
        });
        plan.push(match wait {
            Some(until) => PodAction::BackOff { kind, name, until },
            None => PodAction::StartContainer { kind, name },
        });
    }
}
