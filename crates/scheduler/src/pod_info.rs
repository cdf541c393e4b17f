//! A pod as the scheduler sees it: the typed object and what is computed from it once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodSpec};

use crate::resource::{Resources, pod_requests, pod_requests_for_scoring};

/// A port that a pod takes on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostPort {
    pub(crate) protocol: String,
    /// `0.0.0.0` stands for all addresses.
    pub(crate) address: String,
    pub(crate) port: i32,
}

impl HostPort {
    /// Whether two pods cannot have these ports on one node.
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        let any = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address || self.address == any || other.address == any)
    }
}

/// A pod and what follows from its spec. Immutable and shared.
#[derive(Debug)]
pub(crate) struct PodInfo {
    pub(crate) pod: Arc<Pod>,
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) priority: i32,
    pub(crate) requests: Resources,
    pub(crate) scoring_requests: Resources,
    pub(crate) host_ports: Vec<HostPort>,
}

impl PodInfo {
    pub(crate) fn new(pod: Arc<Pod>) -> Arc<Self> {
        let empty = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&empty);
        let info = Self {
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            namespace: pod.metadata.namespace.clone().unwrap_or_default(),
            name: pod.metadata.name.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            requests: pod_requests(spec),
            scoring_requests: pod_requests_for_scoring(spec),
            host_ports: host_ports(spec),
            pod: Arc::clone(&pod),
        };
        Arc::new(info)
    }

    /// The pod's spec; every stored pod has one.
    pub(crate) fn spec(&self) -> &PodSpec {
        self.pod
            .spec
            .as_ref()
            .expect("the API server stores no pod without a spec")
    }

    /// `namespace/name`, for logs and messages.
    pub(crate) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    // Sidecars run beside the containers; other init containers are gone before.
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|&number| number > 0)?;
            let address = port
                .host_ip
                .as_deref()
                .filter(|a| !a.is_empty())
                .unwrap_or("0.0.0.0");
            Some(HostPort {
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                address: address.to_owned(),
                port: number,
            })
        })
        .collect()
}
