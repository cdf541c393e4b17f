//! Pod workers: one for each pod, which alone acts on it.
//!
//! [`plan`] decides, [`PodWorker`] carries out. A worker is woken by changes of the spec, by the runtime's events, by probes and by
//! time; it never asks why it woke, but looks and plans anew. A pod goes through three stages, never back: syncing, terminating
//! (stopping gracefully), terminated (nothing runs; resources are given back).

mod backoff;
mod context;
mod garbage;
mod hooks;
mod kill;
mod plan;
mod pods;
mod resize;
mod restart_policy;
mod start;
#[cfg(test)]
mod tests;
mod worker;

pub use backoff::{Backoff, go_duration};
pub use context::{NodeFacts, WorkerContext};
pub use hooks::HookRunner;
pub use plan::{KillReason, PlanState, PodAction, backoff_key, plan};
pub use pods::PodWorkers;
pub use restart_policy::restarts_after_exit;
pub use worker::{KillRequest, Stage};
