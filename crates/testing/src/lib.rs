//! Test clusters and fixtures. Never in the binary.
//!
//! A [`Cluster`] is a real one: the release binary as a process of its own, in a network namespace of its own, with a data directory of
//! its own, spoken to with stock kubectl. Everything it made is gone when it is dropped, also after a failed test.

mod clients;
mod cluster;
mod image;
mod kubectl;
mod load;
mod machine;
mod netns;
mod registry;
mod running;
mod wait;

pub use clients::beside_clients;
pub use cluster::{Cluster, Options};
pub use image::{Image, busybox_archive, image_archive, rootfs_archive};
pub use kubectl::Kubectl;
pub use load::{Load, Tally};
pub use machine::Machine;
pub use netns::{Door, Families, NetworkNamespace, in_ipv6};
pub use registry::{Access, Registry};
pub use running::Running;
pub use wait::eventually;
