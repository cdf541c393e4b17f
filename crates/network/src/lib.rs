//! The pod network: links, IPAM, the overlay between nodes, masquerade, host ports.

mod bridge;
mod ipam;
mod overlay;
mod pod_network;
mod records;
mod rules;

pub use bridge::{Bridge, BridgeConfig, BridgeError};
pub use ipam::{Cidr, CidrError};
pub use overlay::Peer;
pub use pod_network::{PodIps, PodLink, PodNetwork, PodNetworkError, PortMapping, Protocol};
