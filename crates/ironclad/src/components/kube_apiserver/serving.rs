//! The flags that say how the server serves and what it takes on: TLS, priority and fairness, timeouts, shutdown, what is kept and how.

use std::{path::PathBuf, time::Duration};

use base::tls::TlsVersion;
use clap::{ArgAction, Args};

use crate::components::flags::duration;

/// Upstream's names and defaults.
#[derive(Debug, Args)]
pub(super) struct ServingFlags {
    /// The oldest version of TLS that is spoken: VersionTLS12 or VersionTLS13
    #[arg(long, default_value = "VersionTLS12")]
    tls_min_version: TlsVersion,
    /// How long events are kept
    #[arg(long, default_value = "1h0m0s", value_parser = duration)]
    event_ttl: Duration,
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
    /// How long watches live that do not say how long they want to, in seconds; up to twice that
    #[arg(long, default_value_t = 1800)]
    min_request_timeout: u64,
    /// How long the server goes on as before once it has been told to stop, but for /readyz
    #[arg(long, default_value = "0s", value_parser = duration)]
    shutdown_delay_duration: Duration,
    /// Keep listening while requests are drained, and answer new ones with 429 and Retry-After
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    shutdown_send_retry_after: bool,
    /// Over how long watches are spread that end because the server stops
    #[arg(long, default_value = "0s", value_parser = duration)]
    shutdown_watch_termination_grace_period: Duration,
    /// How likely, at each request, an HTTP/2 client is sent to connect anew; 0.02 at most
    #[arg(long, default_value_t = 0.0, value_parser = goaway_chance)]
    goaway_chance: f64,
    /// Where traces of requests go, and of how many: a TracingConfiguration
    #[arg(long)]
    tracing_config_file: Option<PathBuf>,
    /// Which resources are encrypted in the store, and with which keys
    #[arg(long)]
    encryption_provider_config: Option<PathBuf>,
    /// Take over that file when it changes
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    encryption_provider_config_automatic_reload: bool,
}

impl ServingFlags {
    /// Writes them into the configuration.
    pub(super) fn apply(&self, config: &mut apiserver::Config) {
        config.tls_min_version = self.tls_min_version;
        config.event_ttl = self.event_ttl;
        config.enable_priority_and_fairness = self.enable_priority_and_fairness;
        config.max_requests_in_flight = self.max_requests_inflight;
        config.max_mutating_requests_in_flight = self.max_mutating_requests_inflight;
        config.request_timeout = self.request_timeout;
        config.min_request_timeout = Duration::from_secs(self.min_request_timeout);
        config.shutdown = apiserver::lifecycle::Settings {
            delay: self.shutdown_delay_duration,
            send_retry_after: self.shutdown_send_retry_after,
            watch_grace: self.shutdown_watch_termination_grace_period,
        };
        config.goaway_chance = self.goaway_chance;
        config
            .tracing_config_file
            .clone_from(&self.tracing_config_file);
        config
            .encryption_provider_config
            .clone_from(&self.encryption_provider_config);
        config.encryption_provider_config_automatic_reload =
            self.encryption_provider_config_automatic_reload;
    }
}

fn goaway_chance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(chance) if (0.0..=0.02).contains(&chance) => Ok(chance),
        _ => Err("--goaway-chance can not be less than 0 or greater than 0.02".to_owned()),
    }
}
