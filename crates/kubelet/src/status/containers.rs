//! `containerStatuses` and its two sisters.

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, Pod,
        ResourceRequirements, VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::generate::StatusInputs;
use crate::{
    observed::{self, ObservedContainer, ObservedPod},
    pod::{as_container, containers, ephemeral_containers, init_containers, is_sidecar},
    pod_worker::restarts_after_exit,
};

/// The three lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statuses {
    /// Init containers and sidecars.
    pub init: Vec<ContainerStatus>,
    /// Regular containers.
    pub regular: Vec<ContainerStatus>,
    /// Ephemeral containers.
    pub ephemeral: Vec<ContainerStatus>,
}

/// The statuses of all containers of a pod: init containers in order, the others by name.
pub(super) fn container_statuses(
    pod: &Pod,
    observed: &ObservedPod,
    inputs: &StatusInputs,
) -> Statuses {
    let maker = Maker {
        pod,
        observed,
        inputs,
    };
    let init: Vec<_> = init_containers(pod)
        .iter()
        .map(|container| maker.status(container, true, is_sidecar(container)))
        .collect();
    let mut regular: Vec<_> = containers(pod)
        .iter()
        .map(|container| maker.status(container, false, true))
        .collect();
    regular.sort_by(|a, b| a.name.cmp(&b.name));
    let mut ephemeral: Vec<_> = ephemeral_containers(pod)
        .iter()
        .map(|container| maker.status(&as_container(container), false, false))
        .collect();
    ephemeral.sort_by(|a, b| a.name.cmp(&b.name));
    Statuses {
        init,
        regular,
        ephemeral,
    }
}

struct Maker<'a> {
    pod: &'a Pod,
    observed: &'a ObservedPod,
    inputs: &'a StatusInputs,
}

impl Maker<'_> {
    fn status(&self, container: &Container, init: bool, long_running: bool) -> ContainerStatus {
        let mut runs = self.observed.runs(&container.name);
        let newest = runs.next();
        let mut status = match newest {
            Some(run) => self.of_run(container, run, long_running, init),
            None => self.without_run(container),
        };
        // The end of the run before this one.
        status.last_state = runs
            .find(|run| run.state == observed::ContainerState::Exited)
            .map(|run| ContainerState {
                terminated: Some(self.terminated(run)),
                ..ContainerState::default()
            })
            .or(status.last_state);
        let state = status.state.get_or_insert_default();
        let waiting = self.inputs.waiting.get(&container.name);
        if let (Some((reason, message)), Some(run)) = (waiting, newest) {
            let restarts = restarts_after_exit(self.pod, container, run.exit_code);
            if state.terminated.is_some() && restarts && !self.inputs.terminating {
                status.last_state = Some(std::mem::take(state));
                state.waiting = Some(waiting_state(reason, message));
                status.ready = false;
                status.started = Some(false);
            }
        }
        status
    }

    fn of_run(
        &self,
        container: &Container,
        run: &ObservedContainer,
        long_running: bool,
        init: bool,
    ) -> ContainerStatus {
        let mut state = ContainerState::default();
        match run.state {
            observed::ContainerState::Running => {
                state.running = Some(ContainerStateRunning {
                    started_at: run.started_at.map(Time),
                });
            }
            observed::ContainerState::Exited => state.terminated = Some(self.terminated(run)),
            observed::ContainerState::Created | observed::ContainerState::Unknown => {
                let (reason, message) = self.waiting_reason(&container.name);
                state.waiting = Some(waiting_state(&reason, &message));
            }
        }
        let running = state.running.is_some();
        let started = running && self.inputs.started.get(&run.id).copied().unwrap_or(true);
        let ready = if long_running {
            started && self.inputs.ready.get(&run.id).copied().unwrap_or(true)
        } else {
            init && state
                .terminated
                .as_ref()
                .is_some_and(|ended| ended.exit_code == 0)
        };
        ContainerStatus {
            container_id: Some(self.id(run)),
            image: run.image.clone(),
            image_id: run.image_id.clone(),
            name: container.name.clone(),
            ready,
            restart_count: i32::try_from(run.restart_count).unwrap_or(i32::MAX),
            started: Some(started),
            state: Some(state),
            user: run
                .user
                .as_ref()
                .filter(|_| running)
                .map(|user| ContainerUser {
                    linux: Some(LinuxContainerUser {
                        uid: user.uid,
                        gid: user.gid,
                        supplemental_groups: Some(user.supplemental_groups.clone())
                            .filter(|list| !list.is_empty()),
                    }),
                }),
            resources: self.resources(container, running),
            allocated_resources: container
                .resources
                .as_ref()
                .and_then(|resources| resources.requests.clone())
                .filter(|requests| !requests.is_empty()),
            volume_mounts: volume_mounts(container),
            ..ContainerStatus::default()
        }
    }

    fn without_run(&self, container: &Container) -> ContainerStatus {
        let list = [
            &self.inputs.previous.init_container_statuses,
            &self.inputs.previous.container_statuses,
        ];
        let before = list
            .into_iter()
            .flatten()
            .flatten()
            .find(|status| status.name == container.name);
        let state = match before.and_then(|status| status.state.clone()) {
            // An end that was reported stays reported, when its container has been cleaned up.
            Some(state) if state.terminated.is_some() => {
                return ContainerStatus {
                    ..before.cloned().unwrap_or_default()
                };
            }
            Some(state) if state.running.is_some() && self.inputs.terminating => ContainerState {
                terminated: Some(ContainerStateTerminated {
                    exit_code: 137,
                    reason: Some("ContainerStatusUnknown".to_owned()),
                    message: Some(
                        "The container could not be located when the pod was terminated".to_owned(),
                    ),
                    ..ContainerStateTerminated::default()
                }),
                ..ContainerState::default()
            },
            _ => {
                let (reason, message) = self.waiting_reason(&container.name);
                ContainerState {
                    waiting: Some(waiting_state(&reason, &message)),
                    ..ContainerState::default()
                }
            }
        };
        ContainerStatus {
            name: container.name.clone(),
            image: container.image.clone().unwrap_or_default(),
            state: Some(state),
            started: Some(false),
            restart_count: before.map_or(0, |status| status.restart_count),
            last_state: before.and_then(|status| status.last_state.clone()),
            volume_mounts: volume_mounts(container),
            ..ContainerStatus::default()
        }
    }

    /// The resources that the container runs with: those of the spec, until a resize is under way. Ephemeral containers have none.
    fn resources(&self, container: &Container, running: bool) -> Option<ResourceRequirements> {
        let mut resources = container.resources.clone().unwrap_or_default();
        let actuated = self.inputs.actuated.containers.get(&container.name);
        if let Some(actuated) = actuated.filter(|_| running) {
            for (list, has) in [
                (&mut resources.limits, &actuated.limits),
                (&mut resources.requests, &actuated.requests),
            ] {
                for name in ["cpu", "memory"] {
                    let Some(list) = list.as_mut() else { continue };
                    if let Some(quantity) = has.as_ref().and_then(|has| has.get(name)) {
                        list.insert(name.to_owned(), quantity.clone());
                    }
                }
            }
        }
        Some(resources)
    }

    fn waiting_reason(&self, name: &str) -> (String, String) {
        if let Some(known) = self.inputs.waiting.get(name) {
            return known.clone();
        }
        let default = if init_containers(self.pod).is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        (default.to_owned(), String::new())
    }

    fn id(&self, run: &ObservedContainer) -> String {
        format!("{}://{}", self.inputs.runtime_name, run.id)
    }

    fn terminated(&self, run: &ObservedContainer) -> ContainerStateTerminated {
        let reason = if !run.reason.is_empty() {
            run.reason.clone()
        } else if run.exit_code == 0 {
            "Completed".to_owned()
        } else {
            "Error".to_owned()
        };
        ContainerStateTerminated {
            container_id: Some(self.id(run)),
            exit_code: run.exit_code,
            finished_at: run.finished_at.map(Time),
            message: Some(run.message.clone()).filter(|message| !message.is_empty()),
            reason: Some(reason),
            signal: None,
            started_at: run.started_at.map(Time),
        }
    }
}

fn waiting_state(reason: &str, message: &str) -> ContainerStateWaiting {
    ContainerStateWaiting {
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()).filter(|message| !message.is_empty()),
    }
}

fn volume_mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: mount.read_only.filter(|read_only| *read_only).map(|_| {
            match mount.recursive_read_only.as_deref() {
                Some("Enabled" | "IfPossible") => "Enabled".to_owned(),
                _ => "Disabled".to_owned(),
            }
        }),
        ..VolumeMountStatus::default()
    };
    container
        .volume_mounts
        .as_ref()
        .map(|mounts| mounts.iter().map(status).collect())
}
