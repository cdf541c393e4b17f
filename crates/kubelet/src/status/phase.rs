//! `status.phase`, as upstream's `getPhase` decides it.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::containers::Statuses;
use crate::pod::{containers, init_containers, is_sidecar, restart_policy};

/// The phase that the containers' states amount to. `terminated` says that nothing will run any more.
pub fn pod_phase(pod: &Pod, statuses: &Statuses, terminated: bool) -> &'static str {
    let find = |list: &'_ [ContainerStatus], name: &str| {
        list.iter().find(|status| status.name == name).cloned()
    };
    let (mut initializing, mut failed_init) = (false, false);
    for container in init_containers(pod) {
        let Some(status) = find(&statuses.init, &container.name) else {
            initializing = true;
            continue;
        };
        let state = status.state.unwrap_or_default();
        if is_sidecar(container) {
            initializing |= state.terminated.is_none() && status.started != Some(true);
            continue;
        }
        let ended = |state: &k8s_openapi::api::core::v1::ContainerState| {
            state.terminated.as_ref().map(|t| t.exit_code)
        };
        if state.running.is_some() {
            initializing = true;
        } else if let Some(code) = ended(&state) {
            failed_init |= code != 0;
        } else {
            // Waiting: between two tries, or for the first one.
            match status.last_state.as_ref().and_then(ended) {
                Some(code) => failed_init |= code != 0,
                None => initializing = true,
            }
        }
    }
    let (mut unknown, mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0, 0);
    for container in containers(pod) {
        let Some(status) = find(&statuses.regular, &container.name) else {
            unknown += 1;
            continue;
        };
        let state = status.state.unwrap_or_default();
        if state.running.is_some() {
            running += 1;
        } else if let Some(ended) = state.terminated {
            stopped += 1;
            succeeded += i32::from(ended.exit_code == 0);
        } else if status
            .last_state
            .is_some_and(|last| last.terminated.is_some())
        {
            stopped += 1;
        } else {
            waiting += 1;
        }
    }
    let policy = restart_policy(pod);
    if failed_init && policy == "Never" {
        return "Failed";
    }
    if terminated && (initializing || failed_init || waiting > 0 || unknown > 0) && running == 0 {
        return "Failed";
    }
    let init_blocks = init_containers(pod)
        .iter()
        .any(|container| !is_sidecar(container))
        && failed_init;
    if (initializing || init_blocks) && running == 0 && stopped == 0 {
        return "Pending";
    }
    if waiting > 0 {
        return "Pending";
    }
    if running > 0 && unknown == 0 {
        return "Running";
    }
    if running == 0 && stopped > 0 && unknown == 0 {
        if terminated {
            return if stopped == succeeded {
                "Succeeded"
            } else {
                "Failed"
            };
        }
        return match policy {
            "Always" => "Running",
            _ if stopped == succeeded => "Succeeded",
            "Never" => "Failed",
            _ => "Running",
        };
    }
    "Pending"
}
