//! A pod as the scheduler sees it: the typed object and what is computed from it once.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use client::ObjectKey;
use k8s_openapi::api::core::v1::{Pod, PodSpec, Volume};

use crate::{
    affinity::PodAffinity,
    resource::{Resources, pod_requests, pod_requests_for_scoring},
};

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
    /// Its wishes about other pods, if it has any.
    pub(crate) affinity: Option<PodAffinity>,
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
            requests: pod_requests(&pod),
            scoring_requests: pod_requests_for_scoring(&pod),
            host_ports: host_ports(spec),
            affinity: PodAffinity::of(&pod),
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

    /// Its labels; few have none.
    pub(crate) fn labels(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.pod.metadata.labels.as_ref().unwrap_or(&NONE)
    }

    /// Whether its deletion has begun.
    pub(crate) fn is_terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// The node that its status says it waits for.
    pub(crate) fn nominated_node(&self) -> Option<&str> {
        let status = self.pod.status.as_ref()?;
        status
            .nominated_node_name
            .as_deref()
            .filter(|node| !node.is_empty())
    }

    /// The names of its PersistentVolumeClaims, of those made for its ephemeral volumes, too.
    pub(crate) fn claim_names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.spec()
            .volumes
            .iter()
            .flatten()
            .filter_map(|volume| self.claim_of(volume))
    }

    /// Whether a PersistentVolumeClaim is one of its own.
    pub(crate) fn has_claim(&self, claim: &ObjectKey) -> bool {
        claim.namespace == self.namespace && self.claim_names().any(|own| own == claim.name)
    }

    /// The name of a volume's PersistentVolumeClaim, if it has one.
    pub(crate) fn claim_of<'a>(&self, volume: &'a Volume) -> Option<Cow<'a, str>> {
        match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(Cow::Borrowed(claim.claim_name.as_str())),
            (None, Some(_)) => Some(Cow::Owned(format!("{}-{}", self.name, volume.name))),
            (None, None) => None,
        }
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
