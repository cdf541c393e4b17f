//! What a pod leaves behind while it lives: all but the last dead run of each container, and sandboxes that hold nothing.

use std::{collections::HashSet, fs, io};

use cri::v1;
use tracing::warn;

use super::WorkerContext;
use crate::observed::{ContainerState, ObservedPod};

/// Ids of containers and sandboxes of a living pod that nobody needs any more. One dead run of each container is kept, for its log
/// and its last state (upstream's `MaxPerPodContainer` of 1).
pub(super) fn garbage(observed: &ObservedPod) -> (Vec<&str>, Vec<&str>) {
    let mut kept = HashSet::new();
    let dead: Vec<&str> = observed
        .containers
        .iter()
        .filter(|run| run.state == ContainerState::Exited)
        .filter(|run| !kept.insert(run.name.as_str()))
        .map(|run| run.id.as_str())
        .collect();
    let holds = |sandbox: &str| {
        observed
            .containers
            .iter()
            .any(|run| run.sandbox_id == sandbox && !dead.contains(&run.id.as_str()))
    };
    let empty = observed
        .sandboxes
        .iter()
        .skip(1)
        .filter(|sandbox| !sandbox.ready && !holds(&sandbox.id))
        .map(|sandbox| sandbox.id.as_str())
        .collect();
    (dead, empty)
}

impl WorkerContext {
    /// Removes garbage, and the logs of removed runs. What fails is garbage at the next look, too.
    pub(super) async fn collect_garbage(&self, observed: &ObservedPod) {
        let (containers, sandboxes) = garbage(observed);
        for id in containers {
            let request = v1::RemoveContainerRequest {
                container_id: id.to_owned(),
            };
            if let Err(error) = self.runtime.remove_container(request).await {
                warn!(id, %error, "cannot remove a dead container");
                continue;
            }
            let log = observed
                .containers
                .iter()
                .find(|run| run.id == id)
                .map(|run| run.log_path.as_str());
            match log.filter(|log| !log.is_empty()).map(fs::remove_file) {
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                    warn!(id, %error, "cannot remove a dead container's log");
                }
                _ => {}
            }
        }
        for id in sandboxes {
            let request = v1::RemovePodSandboxRequest {
                pod_sandbox_id: id.to_owned(),
            };
            if let Err(error) = self.runtime.remove_pod_sandbox(request).await {
                warn!(id, %error, "cannot remove a dead sandbox");
            }
        }
    }
}
