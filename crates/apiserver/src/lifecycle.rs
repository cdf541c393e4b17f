//! How a server stops, step by step, so that no client is cut off who could have been served.
//!
//! 1. *Shutdown initiated* (a signal): `/readyz` fails by its `shutdown` check, everything else goes on for `--shutdown-delay-duration`, so that load
//!    balancers turn away in time.
//! 2. *Not accepting*: watches end, the listener closes (with `--shutdown-send-retry-after` it stays open and says 429), connections are asked to finish.
//! 3. *Drained*: every request that was under way has been answered, or `--request-timeout` has passed; then the rest of the server stops.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The settings of a shutdown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// `--shutdown-delay-duration`
    pub delay: Duration,
    /// `--shutdown-send-retry-after`
    pub send_retry_after: bool,
    /// `--shutdown-watch-termination-grace-period`
    pub watch_grace: Duration,
}

/// Where a server stands between start and end. Cheap to clone; clones are the same server's.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    settings: Settings,
    initiated: CancellationToken,
    not_accepting: CancellationToken,
}

impl Lifecycle {
    /// Of a server that stops when `initiated` is cancelled.
    pub fn new(settings: Settings, initiated: CancellationToken) -> Self {
        Self {
            settings,
            initiated,
            not_accepting: CancellationToken::new(),
        }
    }

    /// The server has been asked to stop.
    pub fn initiated(&self) -> &CancellationToken {
        &self.initiated
    }

    /// It takes no more requests.
    pub fn not_accepting(&self) -> &CancellationToken {
        &self.not_accepting
    }

    /// Whether requests that still come are told to go elsewhere.
    pub fn sends_retry_after(&self) -> bool {
        self.settings.send_retry_after && self.not_accepting.is_cancelled()
    }

    /// Whether the listener stays open while requests are drained, to say so.
    pub(crate) fn listens_while_draining(&self) -> bool {
        self.settings.send_retry_after
    }

    /// How long watches may take to end once nothing is accepted.
    pub(crate) fn watch_grace(&self) -> Duration {
        self.settings.watch_grace
    }

    /// Goes through the steps up to *not accepting*.
    pub(crate) async fn run(&self) {
        self.initiated.cancelled().await;
        tracing::info!(delay = ?self.settings.delay, "shutting down");
        tokio::time::sleep(self.settings.delay).await;
        self.not_accepting.cancel();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_steps_follow_each_other() {
        let settings = Settings {
            delay: Duration::from_secs(5),
            send_retry_after: true,
            watch_grace: Duration::from_secs(10),
        };
        let lifecycle = Lifecycle::new(settings, CancellationToken::new());
        let start = Instant::now();
        lifecycle.initiated().cancel();
        assert!(!lifecycle.sends_retry_after());
        lifecycle.run().await;
        assert_eq!(start.elapsed().as_secs(), 5);
        assert!(lifecycle.sends_retry_after());
        assert_eq!(start.elapsed().as_secs(), 5);
    }
}
