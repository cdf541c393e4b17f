//! kube-scheduler: queue, snapshot, framework, plugins.
//!
//! The path of a pod: [`queue`] → [`snapshot`] in the [`cache`] → [`algorithm`] (filter, score, pick: pure) → reserve → bind. A pod for which
//! there is no room gets some made by [`preemption`], carried out by [`executor`]. The shell in [`scheduler`] feeds informer events in and
//! carries bindings out; everything that decides is synchronous and free of I/O.

mod affinity;
mod algorithm;
mod cache;
mod configuration;
mod diagnosis;
mod executor;
mod framework;
mod intake;
mod listers;
mod metrics;
mod node_info;
mod nominator;
mod plugins;
mod pod_info;
mod preemption;
mod queue;
mod readiness;
mod report;
mod resource;
mod scheduler;
mod snapshot;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod throughput;

pub use configuration::{Configuration, ConfigurationError, LeaderElection};
pub use plugins::PluginError;
pub use readiness::Readiness;
pub use scheduler::{Config, Dependencies, SchedulerError, run};
