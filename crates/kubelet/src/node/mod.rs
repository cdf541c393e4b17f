//! The node's own object: registration, status, lease.

mod conditions;
mod declared_features;
mod facts;
mod lease;
mod object;
mod status;

pub use conditions::Pressure;
pub(crate) use declared_features::missing_features;
pub use facts::{MachineFacts, machine_facts};
pub(crate) use facts::{disk, memory_available, memory_total};
pub use object::{NodeInputs, initial_node, node_status};
pub use status::NodeReporter;
