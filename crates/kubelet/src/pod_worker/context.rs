//! What every pod worker stands on.

use std::{net::IpAddr, sync::Arc};

use base::Clock;
use client::Informer;
use cri::RuntimeService;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use tokio::sync::watch;

use super::HookRunner;
use crate::{
    allocation::AllocationManager,
    config::KubeletConfig,
    container::HostResolver,
    env::FieldContext,
    events::PodEvents,
    images::ImageManager,
    objects::ObjectCache,
    observed::ObservedPod,
    paths::Paths,
    probes::ProbeManager,
    resources::PodCgroups,
    runtime_view::RuntimeView,
    status::StatusManager,
    userns::UserNamespaces,
    volumes::{ClaimManager, TokenManager},
};

/// First delay of CrashLoopBackOff.
pub(super) const INITIAL_BACK_OFF: SignedDuration = SignedDuration::from_secs(10);

/// Facts of the node that pods are told, or measured against.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// Addresses, primary first.
    pub ips: Vec<IpAddr>,
    /// Bytes of memory.
    pub memory_bytes: i64,
    /// Thousandths of a CPU that pods may use.
    pub allocatable_milli_cpu: i64,
    /// Bytes of memory that pods may use.
    pub allocatable_memory: i64,
    /// Bytes of disk that pods may use.
    pub allocatable_ephemeral_storage: i64,
    /// The runtime's name.
    pub runtime_name: String,
}

/// Shared by all workers.
pub struct WorkerContext {
    /// Configuration.
    pub config: Arc<KubeletConfig>,
    /// Directories.
    pub paths: Paths,
    /// Time.
    pub clock: Clock,
    /// The runtime.
    pub runtime: Arc<dyn RuntimeService>,
    /// Eyes on it.
    pub view: RuntimeView,
    /// Images.
    pub images: ImageManager,
    /// Config maps and secrets.
    pub objects: ObjectCache,
    /// Tokens.
    pub tokens: TokenManager,
    /// What the pods' claims are bound to.
    pub claims: ClaimManager,
    /// Statuses.
    pub status: StatusManager,
    /// Probes.
    pub probes: ProbeManager,
    /// Hooks.
    pub hooks: HookRunner,
    /// Events.
    pub events: PodEvents,
    /// Resources that were granted to pods.
    pub allocation: AllocationManager,
    /// Cgroups of pods.
    pub cgroups: PodCgroups,
    /// User namespaces of pods.
    pub users: UserNamespaces,
    /// Services, for variables; none without an API server.
    pub services: Option<Informer<Service>>,
    /// The node.
    pub node: NodeFacts,
    /// Its object, once it was read.
    pub node_object: watch::Receiver<Option<Arc<Node>>>,
    /// The node's resolver.
    pub resolver: HostResolver,
}

impl WorkerContext {
    /// The pod's addresses, primary first: those of its sandbox, or the node's for a pod on the node's network.
    pub(super) fn pod_ips(&self, pod: &Pod, observed: &ObservedPod) -> Vec<String> {
        if crate::pod::host_network(pod) {
            self.node.ips.iter().map(ToString::to_string).collect()
        } else {
            observed
                .ready_sandbox()
                .map(|sandbox| sandbox.ips.clone())
                .unwrap_or_default()
        }
    }

    /// What the downward API tells a pod.
    pub(super) fn fields(&self, pod: &Pod, observed: &ObservedPod) -> FieldContext {
        FieldContext {
            node_name: self.config.node_name.clone(),
            host_ips: self.node.ips.clone(),
            pod_ips: self.pod_ips(pod, observed),
            allocatable_milli_cpu: self.node.allocatable_milli_cpu,
            allocatable_memory: self.node.allocatable_memory,
            allocatable_ephemeral_storage: self.node.allocatable_ephemeral_storage,
        }
    }
}
