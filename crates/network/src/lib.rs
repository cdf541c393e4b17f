//! The pod network: links, IPAM, masquerade, host ports.

mod pod_network;

pub use pod_network::{PodIps, PodLink, PodNetwork, PodNetworkError, PortMapping, Protocol};
