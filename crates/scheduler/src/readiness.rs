//! Whether the scheduler knows the cluster: what `/readyz` asks as `sched-handler-sync`.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Said once, when all informers have been filled. Cheap to clone; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Whether it does.
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// From now on it does.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}
