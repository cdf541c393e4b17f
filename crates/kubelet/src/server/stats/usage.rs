//! What the runtime measures of pods and containers, put together.

use std::collections::BTreeMap;

use cri::{
    CriError, RuntimeService,
    v1::{
        ContainerStats, LinuxPodSandboxStats, ListContainerStatsRequest, ListContainersRequest,
        ListPodSandboxStatsRequest, UInt64Value,
    },
};

use crate::observed::label;

/// One pod's use.
#[derive(Clone, Debug, Default)]
pub(super) struct PodUsage {
    pub(super) sandbox_id: String,
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) namespace: String,
    /// Of the pod as a whole.
    pub(super) whole: LinuxPodSandboxStats,
    /// Of its running containers, by name.
    pub(super) containers: BTreeMap<String, ContainerUsage>,
}

/// One container's use.
#[derive(Clone, Debug, Default)]
pub(super) struct ContainerUsage {
    pub(super) id: String,
    pub(super) image: String,
    pub(super) created_at_ns: i64,
    pub(super) stats: ContainerStats,
}

/// All pods of the runtime that are the kubelet's, by uid.
pub(super) async fn collect(
    runtime: &dyn RuntimeService,
) -> Result<BTreeMap<String, PodUsage>, CriError> {
    let (sandboxes, stats, containers) = tokio::try_join!(
        runtime.list_pod_sandbox_stats(ListPodSandboxStatsRequest::default()),
        runtime.list_container_stats(ListContainerStatsRequest::default()),
        runtime.list_containers(ListContainersRequest::default()),
    )?;
    let mut pods = BTreeMap::new();
    for sandbox in sandboxes.stats {
        let attributes = sandbox.attributes.unwrap_or_default();
        let meta = attributes.metadata.unwrap_or_default();
        let pod = PodUsage {
            sandbox_id: attributes.id,
            uid: meta.uid,
            name: meta.name,
            namespace: meta.namespace,
            whole: sandbox.linux.unwrap_or_default(),
            containers: BTreeMap::new(),
        };
        pods.insert(pod.uid.clone(), pod);
    }
    let mut known: BTreeMap<_, _> = containers
        .containers
        .into_iter()
        .map(|container| (container.id.clone(), container))
        .collect();
    for stats in stats.stats {
        let attributes = stats.attributes.clone().unwrap_or_default();
        let Some(container) = known.remove(&attributes.id) else {
            continue;
        };
        if container.state() != cri::v1::ContainerState::ContainerRunning {
            continue;
        }
        let uid = container.labels.get(label::POD_UID);
        let Some(pod) = uid.and_then(|uid| pods.get_mut(uid)) else {
            continue;
        };
        let name = container
            .labels
            .get(label::CONTAINER_NAME)
            .cloned()
            .or_else(|| attributes.metadata.map(|meta| meta.name))
            .unwrap_or_default();
        let usage = ContainerUsage {
            id: container.id,
            image: container.image.map(|image| image.image).unwrap_or_default(),
            created_at_ns: container.created_at,
            stats,
        };
        pod.containers.insert(name, usage);
    }
    Ok(pods)
}

/// A value that may be missing.
pub(super) fn value(value: &Option<UInt64Value>) -> Option<u64> {
    value.as_ref().map(|value| value.value)
}
