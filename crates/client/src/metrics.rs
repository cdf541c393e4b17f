//! Metrics of a client's requests, under the names of upstream's `rest_client_*`.

use std::{sync::Arc, time::Duration};

use base::metrics::{Counter, Histogram, Registry};
use http::{Method, StatusCode};

const SECONDS: &[f64] = &[
    0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0,
];

/// Counts requests to one server. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct ClientMetrics {
    host: Arc<str>,
    requests: Counter,
    seconds: Histogram,
}

impl ClientMetrics {
    /// In `registry`; `host` is the server's, with its port.
    pub fn new(registry: &Registry, host: &str) -> Self {
        Self {
            host: host.into(),
            requests: registry.counter(
                "rest_client_requests_total",
                "Number of HTTP requests, partitioned by status code, method, and host.",
                &["code", "method", "host"],
            ),
            seconds: registry.histogram(
                "rest_client_request_duration_seconds",
                "Request latency in seconds. Broken down by verb, and host.",
                &["verb", "host"],
                SECONDS,
            ),
        }
    }

    /// A request was answered, or could not be sent.
    pub(crate) fn count(&self, method: &Method, code: Option<StatusCode>, took: Duration) {
        let code = code.as_ref().map_or("<error>", StatusCode::as_str);
        self.requests
            .increment(&[code, method.as_str(), &self.host]);
        self.seconds
            .observe(&[method.as_str(), &self.host], took.as_secs_f64());
    }
}
