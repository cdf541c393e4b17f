//! kube-scheduler: queue, snapshot, framework, plugins.
//!
//! The path of a pod: [`queue`] → [`cache`] snapshot → [`algorithm`] (filter, score, pick: pure) → reserve → bind. The shell in
//! [`scheduler`] feeds informer events in and carries bindings out; everything that decides is synchronous and free of I/O.

mod algorithm;
mod cache;
mod framework;
mod node_info;
mod plugins;
mod pod_info;
mod queue;
mod resource;
mod scheduler;
#[cfg(test)]
mod testing;

pub use scheduler::{Config, Dependencies, SchedulerError, run};
