//! kube-controller-manager: one file per controller, one table of them.

mod context;
mod controller_ref;
mod deployment;
mod expectations;
mod manager;
mod pods;
mod reconcile;
mod table;

pub use context::Config;
pub use manager::{Deps, RunError, known_controllers, run};
