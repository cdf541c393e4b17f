//! kubelet: pod workers, probes, volumes, QoS, eviction, status.
//!
//! Start at [`prepare`] and [`run`]; a pod's way is `sources` → [`pod_worker::PodWorkers`] → [`pod_worker::plan`] → the runtime →
//! [`status`]. The [`Kubelet`] handle is what the HTTPS server asks.

pub mod admission;
pub mod allocation;
pub mod config;
pub mod container;
pub mod env;
pub mod events;
pub mod gc;
pub mod images;
pub mod node;
pub mod objects;
pub mod observed;
pub mod paths;
pub mod pleg;
pub mod pod;
pub mod pod_worker;
pub mod probes;
pub mod resources;
pub mod runtime_view;
pub mod server;
pub mod sources;
pub mod status;
pub mod userns;
pub mod volumes;

#[cfg(test)]
mod api_tests;
mod instrumented;
mod kubelet;
#[cfg(test)]
mod testing;

pub use config::KubeletConfig;
pub use kubelet::{Kubelet, KubeletDeps, PreparedKubelet, StartError, prepare, run};
