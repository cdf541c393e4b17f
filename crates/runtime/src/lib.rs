//! The container runtime: images, snapshots, sandboxes, containers, the shim.
//!
//! [`Runtime`] implements the traits of crate `cri` in process. Each pod has a [`shim`], the same binary executed anew, which holds its
//! namespaces, parents its containers and outlives us; [`images`] is what containers stand on.

mod adopt;
mod container_spec;
mod containers;
mod events;
mod image_service;
pub mod images;
mod monitor;
mod records;
mod runtime;
mod runtime_service;
mod sandboxes;
pub mod shim;
mod shim_client;
mod stats;
mod stream;
mod streaming;

pub use runtime::{Config, Runtime};
