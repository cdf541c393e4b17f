//! The flags that bound what the server takes on: priority and fairness, timeouts, shutdown.

use std::time::Duration;

use clap::{ArgAction, Args};

/// Upstream's names and defaults.
#[derive(Debug, Args)]
pub(super) struct ServingFlags {
    /// Sort requests into priority levels and queue them fairly; otherwise the two limits below hold as they are
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    enable_priority_and_fairness: bool,
    /// Requests that read, at once; part of the server's seats
    #[arg(long, default_value_t = 400)]
    max_requests_inflight: usize,
    /// Requests that change something, at once; part of the server's seats
    #[arg(long, default_value_t = 200)]
    max_mutating_requests_inflight: usize,
    /// How long a request may take, unless it is a watch or a stream
    #[arg(long, default_value = "1m0s", value_parser = duration)]
    request_timeout: Duration,
}

impl ServingFlags {
    /// Writes them into the configuration.
    pub(super) fn apply(&self, config: &mut apiserver::Config) {
        config.enable_priority_and_fairness = self.enable_priority_and_fairness;
        config.max_requests_in_flight = self.max_requests_inflight;
        config.max_mutating_requests_in_flight = self.max_mutating_requests_inflight;
        config.request_timeout = self.request_timeout;
    }
}

/// A duration as Go writes it; never negative.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let nanos = apimachinery::time::parse_duration(text)?;
    u64::try_from(nanos)
        .map(Duration::from_nanos)
        .map_err(|_| format!("{text:?} is negative"))
}
