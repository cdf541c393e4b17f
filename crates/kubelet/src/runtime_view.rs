//! Reads pods out of the runtime.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use cri::{CriError, RuntimeService, v1};

use crate::observed::{ObservedContainer, ObservedPod, ObservedSandbox, label};

/// A pod as the runtime's lists tell it, without asking for each container's status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimePod {
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Sandbox ids and whether they are ready.
    pub sandboxes: BTreeSet<(String, bool)>,
    /// Container ids and their states.
    pub containers: BTreeSet<(String, i32)>,
}

impl RuntimePod {
    /// Whether something of it may be running.
    pub fn is_running(&self) -> bool {
        self.sandboxes.iter().any(|(_, ready)| *ready)
            || self
                .containers
                .iter()
                .any(|(_, state)| *state == v1::ContainerState::ContainerRunning as i32)
    }
}

/// Eyes on the runtime.
#[derive(Clone)]
pub struct RuntimeView {
    runtime: Arc<dyn RuntimeService>,
    /// Whether the node's primary address, and with it that of its pods, is an IPv6 one.
    ipv6_first: bool,
}

impl RuntimeView {
    /// On this runtime, for a node with these addresses.
    pub fn new(runtime: Arc<dyn RuntimeService>, node_ips: &[IpAddr]) -> Self {
        Self {
            runtime,
            ipv6_first: node_ips.first().is_some_and(IpAddr::is_ipv6),
        }
    }

    /// All pods that the runtime has, by uid.
    pub async fn pods(&self) -> Result<HashMap<String, RuntimePod>, CriError> {
        let mut pods: HashMap<String, RuntimePod> = HashMap::new();
        let sandboxes = self
            .runtime
            .list_pod_sandbox(v1::ListPodSandboxRequest::default())
            .await?;
        for sandbox in sandboxes.items {
            let ready = sandbox.state() == v1::PodSandboxState::SandboxReady;
            let Some(metadata) = sandbox.metadata else {
                continue;
            };
            let pod = pods.entry(metadata.uid).or_default();
            pod.name = metadata.name;
            pod.namespace = metadata.namespace;
            pod.sandboxes.insert((sandbox.id, ready));
        }
        let containers = self
            .runtime
            .list_containers(v1::ListContainersRequest::default())
            .await?;
        for container in containers.containers {
            let Some(uid) = container.labels.get(label::POD_UID) else {
                continue;
            };
            let pod = pods.entry(uid.clone()).or_default();
            if pod.name.is_empty() {
                pod.name = container
                    .labels
                    .get(label::POD_NAME)
                    .cloned()
                    .unwrap_or_default();
                pod.namespace = container
                    .labels
                    .get(label::POD_NAMESPACE)
                    .cloned()
                    .unwrap_or_default();
            }
            pod.containers.insert((container.id, container.state));
        }
        Ok(pods)
    }

    /// Everything about one pod. What vanishes between the list and the question is left out.
    pub async fn observe(
        &self,
        uid: &str,
        name: &str,
        namespace: &str,
    ) -> Result<ObservedPod, CriError> {
        let selector = HashMap::from([(label::POD_UID.to_owned(), uid.to_owned())]);
        let mut observed = ObservedPod {
            uid: uid.to_owned(),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            ..ObservedPod::default()
        };
        let filter = v1::PodSandboxFilter {
            label_selector: selector.clone(),
            ..Default::default()
        };
        let sandboxes = self
            .runtime
            .list_pod_sandbox(v1::ListPodSandboxRequest {
                filter: Some(filter),
            })
            .await?;
        for sandbox in sandboxes.items {
            let request = v1::PodSandboxStatusRequest {
                pod_sandbox_id: sandbox.id,
                verbose: false,
            };
            match self.runtime.pod_sandbox_status(request).await {
                Ok(response) => observed.sandboxes.extend(response.status.map(|status| {
                    let mut sandbox = ObservedSandbox::from(status);
                    sandbox.ips = one_of_each_family(&sandbox.ips, self.ipv6_first);
                    sandbox
                })),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        let filter = v1::ContainerFilter {
            label_selector: selector,
            ..Default::default()
        };
        let containers = self
            .runtime
            .list_containers(v1::ListContainersRequest {
                filter: Some(filter),
            })
            .await?;
        for container in containers.containers {
            let request = v1::ContainerStatusRequest {
                container_id: container.id,
                verbose: false,
            };
            match self.runtime.container_status(request).await {
                Ok(response) => {
                    observed
                        .containers
                        .extend(response.status.map(|status| ObservedContainer {
                            sandbox_id: container.pod_sandbox_id,
                            ..ObservedContainer::from(status)
                        }))
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        observed
            .sandboxes
            .sort_by_key(|sandbox| Reverse((sandbox.created_at, sandbox.attempt)));
        observed
            .containers
            .sort_by_key(|run| Reverse((run.created_at, run.restart_count)));
        Ok(observed)
    }
}

/// The first address of each family in its usual form, whatever number of them in whatever order the runtime names.
fn one_of_each_family(ips: &[String], ipv6_first: bool) -> Vec<String> {
    let ips: Vec<IpAddr> = ips.iter().filter_map(|ip| ip.parse().ok()).collect();
    let first = |ipv6: bool| ips.iter().find(|ip| ip.is_ipv6() == ipv6);
    [ipv6_first, !ipv6_first]
        .into_iter()
        .filter_map(first)
        .map(ToString::to_string)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_one_address_of_each_family_in_the_nodes_order() {
        let told = ["fd00::0:5", "10.0.0.5", "", "fd00::6", "10.0.0.6"].map(str::to_owned);
        assert_eq!(one_of_each_family(&told, false), ["10.0.0.5", "fd00::5"]);
        assert_eq!(one_of_each_family(&told, true), ["fd00::5", "10.0.0.5"]);
        assert_eq!(one_of_each_family(&told[1..2], true), ["10.0.0.5"]);
        assert!(one_of_each_family(&[], false).is_empty());
    }
}
