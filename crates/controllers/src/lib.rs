//! kube-controller-manager: one file per controller, one table of them.

mod certificates;
mod clusterrole_aggregation;
mod context;
mod controller_ref;
mod daemonset;
mod deployment;
mod disruption;
mod endpoint_slice;
mod endpoints;
mod expectations;
mod garbage_collector;
mod history;
mod job;
mod manager;
mod monitors;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod pod_garbage_collector;
mod pods;
mod reconcile;
mod replica_set;
mod resource_quota;
mod root_ca_cert_publisher;
mod service_account;
mod service_pods;
mod statefulset;
mod table;
mod taint_eviction;
mod ttl_after_finished;

pub use context::Config;
pub use manager::{Deps, RunError, known_controllers, run};
