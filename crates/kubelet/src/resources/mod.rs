//! What pods ask of the node and what they get: QoS classes, requests and limits in the kernel's units, pod cgroups.

mod amount;
mod cgroups;
mod qos;
mod requests;

pub use amount::amount;
pub use cgroups::{PodCgroups, cgroup_parent, container_resources, pod_resources};
pub use qos::{QosClass, oom_score_adj, qos_class};
pub use requests::{Requests, effective_resources, pod_requests};
