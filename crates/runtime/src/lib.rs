//! The container runtime: images, snapshots, sandboxes, containers, the shim.

pub mod shim;
mod shim_client;
pub use shim_client::{spawn, ShimClient};
