//! Carries out a resize: cgroups of containers that run get what was allocated to them.
//!
//! The pod's own cgroup was made large enough for what is and for what will be before the plan was made
//! ([`PodCgroups::ensure`](crate::resources::PodCgroups::ensure)), and gets its new size when all containers have theirs; so no
//! order of steps can leave a container with less than it has room for.

use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use super::WorkerContext;
use crate::{
    observed::ObservedPod,
    pod::{find_container, format_pod, uid},
    resources::container_resources,
};

impl WorkerContext {
    /// Changes the cgroups of these containers (id, name, and the limit of memory that gets lower), then the pod's own. The error is
    /// a message; what was done until then stays, and the rest is tried again.
    pub(super) async fn resize(
        &self,
        pod: &Pod,
        observed: &ObservedPod,
        containers: &[(String, String, Option<i64>)],
    ) -> Result<(), String> {
        self.check_memory(pod, observed, containers).await?;
        for (id, name, _) in containers {
            let Some((_, container)) = find_container(pod, name) else {
                continue;
            };
            let resources =
                container_resources(&self.config, pod, &container, self.node.memory_bytes);
            let request = v1::UpdateContainerResourcesRequest {
                container_id: id.clone(),
                linux: Some(resources),
                ..Default::default()
            };
            self.runtime
                .update_container_resources(request)
                .await
                .map_err(|error| error.message().to_owned())?;
            let granted = container.resources.clone().unwrap_or_default();
            self.allocation.set_actuated(pod, name, &granted);
        }
        self.allocation.set_actuated_pod(pod);
        let actuated = self.allocation.actuated(uid(pod));
        self.cgroups
            .ensure(pod, &actuated)
            .map_err(|error| error.to_string())
    }

    /// A limit below what is in use would have the kernel kill, or refuse: both are worse than to wait.
    async fn check_memory(
        &self,
        pod: &Pod,
        observed: &ObservedPod,
        containers: &[(String, String, Option<i64>)],
    ) -> Result<(), String> {
        let mut errors = Vec::new();
        for (id, name, limit) in containers {
            let Some(limit) = limit else { continue };
            let request = v1::ContainerStatsRequest {
                container_id: id.clone(),
            };
            let stats = self.runtime.container_stats(request).await.map_err(|_| {
                format!("unable to read memory usage for pod {:?}", format_pod(pod))
            })?;
            let usage = stats
                .stats
                .and_then(|stats| stats.memory)
                .and_then(|memory| memory.usage_bytes)
                .map(|usage| usage.value);
            match usage {
                None => errors.push(format!("missing container {name:?} memory usage")),
                Some(usage) if i64::try_from(usage).is_ok_and(|usage| usage < *limit) => {}
                Some(usage) => errors.push(format!(
                    "attempting to set container {name:?} memory limit ({limit}) below current usage ({usage})"
                )),
            }
        }
        let errors = match errors.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        tracing::info!(pod = observed.name, errors, "limits of memory stay for now");
        Err(format!("cannot decrease memory limits: {errors}"))
    }
}
