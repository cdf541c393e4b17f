//! What a watch cache counts of itself. Read when somebody scrapes, counted with one atomic add.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use base::metrics::HistogramSeries;

/// Counts only up.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// See the module.
#[derive(Default)]
pub struct Stats {
    /// Changes that came from the store.
    pub(crate) events: Count,
    /// How often the cache was filled anew.
    pub(crate) loads: Count,
    /// Lists that were answered from it…
    pub(crate) lists: Count,
    /// …objects looked at for them…
    pub(crate) fetched: Count,
    /// …and objects in their answers.
    pub(crate) returned: Count,
    /// Lists for which the store was read, to fill the cache or for a state of the past…
    pub(crate) store_lists: Count,
    /// …and objects read for them.
    pub(crate) store_objects: Count,
    /// Consistent reads that it answered…
    pub(crate) consistent: Count,
    /// …and those for which it did not become fresh in time.
    pub(crate) stale: Count,
    /// Watchers that fell behind.
    pub(crate) terminated: Count,
    /// How long reads waited for it to be fresh enough.
    pub(crate) waits: OnceLock<HistogramSeries>,
}

impl std::fmt::Debug for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stats").finish_non_exhaustive()
    }
}
