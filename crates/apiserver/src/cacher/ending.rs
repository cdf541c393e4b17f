//! The server stops: its watches end, so that connections can.
//!
//! With a grace period they end spread over it, each at its own place, lest all clients come back at once (`--shutdown-watch-termination-grace-period`).
//! Watchers do not wait for this: they are woken when it has been said, and look.

use std::{sync::OnceLock, time::Duration};

use tokio::time::Instant;

/// Shared by the caches of a hub.
#[derive(Debug, Default)]
pub(super) struct Ending(OnceLock<(Instant, Duration)>);

impl Ending {
    /// Watches end from now on, over so long. What is said first holds.
    pub(super) fn begin(&self, spread: Duration) {
        let _ = self.0.set((Instant::now(), spread));
    }

    /// When the watch at a place from 0 to 1 ends; `None` while the server is not stopping.
    pub(super) fn of(&self, place: f64) -> Option<Instant> {
        let (since, spread) = self.0.get()?;
        Some(*since + spread.mul_f64(place.clamp(0.0, 1.0)))
    }
}
