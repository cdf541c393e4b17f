//! What a running container lacks to have what was allocated to it. Pure.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};

use super::record::{PodResources, same};
use crate::{
    observed::{ContainerState, ObservedPod},
    pod::{containers, init_containers, spec},
    resources::amount,
};

/// CPU in thousandths and memory in bytes, as asked for and as limited; 0 for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sizes {
    cpu_request: i64,
    cpu_limit: i64,
    memory_request: i64,
    memory_limit: i64,
}

impl Sizes {
    fn of(resources: &ResourceRequirements) -> Self {
        let of = |limits: bool, name: &str| {
            let list = if limits {
                &resources.limits
            } else {
                &resources.requests
            };
            list.as_ref()
                .and_then(|list| list.get(name))
                .map_or(0, |quantity| amount(name, quantity))
        };
        Self {
            cpu_request: of(false, "cpu"),
            cpu_limit: of(true, "cpu"),
            memory_request: of(false, "memory"),
            memory_limit: of(true, "memory"),
        }
    }
}

/// How a running container differs from its allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerResize {
    /// Its cgroup can be changed while it runs.
    InPlace {
        /// Its limit of memory gets lower, to so many bytes.
        memory_below: Option<i64>,
    },
    /// Its resize policy asks for a restart.
    Restart,
}

/// Compares a container of the allocated pod with what its cgroup has.
pub fn container_resize(container: &Container, actuated: &PodResources) -> Option<ContainerResize> {
    let wanted = Sizes::of(&container.resources.clone().unwrap_or_default());
    let has = Sizes::of(actuated.containers.get(&container.name)?);
    if wanted == has {
        return None;
    }
    let restarts = |resource: &str| {
        container.resize_policy.iter().flatten().any(|policy| {
            policy.resource_name == resource && policy.restart_policy == "RestartContainer"
        })
    };
    let cpu = (wanted.cpu_request, wanted.cpu_limit) != (has.cpu_request, has.cpu_limit);
    let memory =
        (wanted.memory_request, wanted.memory_limit) != (has.memory_request, has.memory_limit);
    if (cpu && restarts("cpu")) || (memory && restarts("memory")) {
        return Some(ContainerResize::Restart);
    }
    let lower = wanted.memory_limit > 0
        && (has.memory_limit == 0 || wanted.memory_limit < has.memory_limit);
    Some(ContainerResize::InPlace {
        memory_below: lower.then_some(wanted.memory_limit),
    })
}

/// Whether anything of a pod still differs from its allocation. What does not run gets its size when it starts.
pub fn is_resizing(pod: &Pod, observed: &ObservedPod, actuated: &PodResources) -> bool {
    let runs = |container: &&Container| {
        observed
            .container(&container.name)
            .is_some_and(|run| run.state == ContainerState::Running)
    };
    pod_resizes(pod, actuated)
        || containers(pod)
            .iter()
            .chain(init_containers(pod))
            .filter(runs)
            .any(|container| container_resize(container, actuated).is_some())
}

/// Whether `spec.resources` differ from what the pod's cgroup has.
pub fn pod_resizes(pod: &Pod, actuated: &PodResources) -> bool {
    actuated.pod.is_some() && !same(spec(pod).resources.as_ref(), actuated.pod.as_ref())
}
