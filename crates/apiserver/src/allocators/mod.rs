//! Cluster addresses and node ports of Services: handed out so that no two servers hand out the same, now or after a restart.
//!
//! An address is taken by creating its `IPAddress` object (KEP-1880): the store lets one server win. Node ports are bits of one stored bitmap,
//! changed by compare-and-swap. Dynamic allocation starts in the upper part of a range and leaves the lower to those who choose (KEP-3070).
//! What a crash leaves behind is found and mended by [`Repair`].

mod cidr;
mod cluster_ip;
mod families;
pub(crate) mod metrics;
mod node_port;
mod repair;
mod service;

pub use cidr::{Cidr, CidrError, Family};
pub use cluster_ip::{AddressError, ClusterIpAllocator};
pub use node_port::{NodePortAllocator, PortError, PortRange};
pub use repair::Repair;
pub use service::ServiceAllocator;

#[cfg(test)]
mod tests;
