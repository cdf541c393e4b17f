//! The node's own object: registration, status, lease.

mod conditions;
mod facts;
mod lease;
mod object;
mod status;

pub use facts::{MachineFacts, machine_facts};
pub use object::{NodeInputs, initial_node, node_status};
pub use status::NodeReporter;
