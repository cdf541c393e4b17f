//! The seam between the runtime and whatever connects its pods: a bridge of ours, CNI plugins, or loopback alone in tests.
//!
//! The runtime makes and owns a sandbox's network namespace and hands its path here; loopback inside is up already. Both calls are
//! idempotent by sandbox id, because either side can crash between doing and recording: attaching twice gives the same addresses, and
//! detaching what is not there is no error.

use std::{net::IpAddr, path::Path};

use async_trait::async_trait;

/// A transport protocol of a host port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the node that leads to a port of the pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// Protocol.
    pub protocol: Protocol,
    /// Port inside the pod.
    pub container_port: u16,
    /// Port of the node.
    pub host_port: u16,
    /// Address of the node that it listens on; all if `None`.
    pub host_ip: Option<IpAddr>,
}

/// Which sandbox is meant, for attaching and detaching alike.
#[derive(Clone, Debug)]
pub struct PodLink<'a> {
    /// The sandbox's id, unique on this node for all time.
    pub sandbox_id: &'a str,
    /// The pod's namespace.
    pub namespace: &'a str,
    /// The pod's name.
    pub name: &'a str,
    /// The pod's uid.
    pub uid: &'a str,
    /// Path of its network namespace. On detach it may be gone already.
    pub netns: &'a Path,
    /// Host ports wanted.
    pub port_mappings: &'a [PortMapping],
    /// The pod's annotations, for bandwidth limits and the like; pairs sorted by key.
    pub annotations: &'a [(String, String)],
}

/// What a pod was given: never empty after a success; the first is the pod's primary address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodIps(pub Vec<IpAddr>);

/// Why a pod could not be connected, or the network is not ready; worded for an event.
#[derive(Debug, thiserror::Error)]
pub enum PodNetworkError {
    /// The network lacks its configuration (a pod CIDR, a CNI file), and may get it later.
    #[error("network plugin is not ready: {0}")]
    NotReady(String),
    /// No address is free.
    #[error("no IP addresses available in range {0}")]
    Exhausted(String),
    /// Something went wrong with this sandbox.
    #[error("failed to {operation} sandbox {sandbox_id}: {message}")]
    Failed {
        /// What was being done.
        operation: &'static str,
        /// For which sandbox.
        sandbox_id: String,
        /// What happened.
        message: String,
    },
}

/// Connects pods.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Gives the namespace its links, addresses, routes and host ports. On error nothing of it is left.
    async fn attach(&self, link: PodLink<'_>) -> Result<PodIps, PodNetworkError>;

    /// Takes back everything that `attach` gave.
    async fn detach(&self, link: PodLink<'_>) -> Result<(), PodNetworkError>;

    /// Frees what belongs to sandboxes other than these; called once at start, with all that the runtime found.
    async fn retain(&self, sandbox_ids: &[String]) -> Result<(), PodNetworkError>;

    /// Whether pods can be attached now; becomes the node's NetworkReady condition.
    async fn status(&self) -> Result<(), PodNetworkError>;

    /// Hands over the node's pod CIDRs, comma-separated, once the control plane has assigned them.
    async fn set_pod_cidr(&self, pod_cidr: &str) -> Result<(), PodNetworkError>;
}
