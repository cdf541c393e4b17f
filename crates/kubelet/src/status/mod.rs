//! The pod's status: made by a pure function from what is seen, kept by a manager that tells the API.

mod conditions;
mod containers;
mod generate;
mod manager;
mod phase;
mod termination_message;
#[cfg(test)]
mod tests;

pub use generate::{StatusInputs, generate_status};
pub use manager::StatusManager;
pub use phase::pod_phase;
pub use termination_message::read_termination_messages;
