//! The server's metrics, under upstream's names, so that dashboards and alerts written for it work.

use std::time::{Duration, Instant};

use apimachinery::gvk::GroupResource;
use base::metrics::{Counter, Gauge, Histogram, Registry};
use bytes::Bytes;
use http::{HeaderValue, Response, header};

use crate::{context::Context, request_info::RequestInfo};

/// Upstream's bounds for `apiserver_request_duration_seconds`.
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// What the pipeline counts.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    requests: Counter,
    seconds: Histogram,
    inflight: Gauge,
    long_running: Gauge,
    sizes: Histogram,
    sli_seconds: Histogram,
}

/// Upstream's bounds for `apiserver_response_sizes`, in bytes.
const BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// What requests are told apart by, beside code and dry run.
const REQUEST: &[&str] = &[
    "component",
    "group",
    "resource",
    "scope",
    "subresource",
    "verb",
    "version",
];

impl Metrics {
    /// Into a registry of its own, which also holds the process' metrics.
    pub fn new(git_version: &str) -> Self {
        let registry = Registry::new();
        base::metrics::process(&registry);
        let build = registry.gauge(
            "kubernetes_build_info",
            "Which build this is.",
            &["git_version", "major", "minor"],
        );
        build.set(&[git_version, "1", "36"], 1.0);
        Self {
            requests: registry.counter(
                "apiserver_request_total",
                "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
                &["code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"],
            ),
            seconds: registry.histogram(
                "apiserver_request_duration_seconds",
                "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
                &["component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"],
                SECONDS,
            ),
            inflight: registry.gauge(
                "apiserver_current_inflight_requests",
                "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
                &["request_kind"],
            ),
            long_running: registry.gauge(
                "apiserver_longrunning_requests",
                "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.",
                REQUEST,
            ),
            sizes: registry.histogram(
                "apiserver_response_sizes",
                "Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.",
                REQUEST,
                BYTES,
            ),
            sli_seconds: registry.histogram(
                "apiserver_request_sli_duration_seconds",
                "Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.",
                REQUEST,
                SECONDS,
            ),
            registry,
        }
    }

    /// Where other parts of the server register what they count.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// `/metrics`.
    pub fn respond(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.registry.encode()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(base::metrics::TEXT_FORMAT),
        );
        response
    }

    /// A request has come in. It counts as under way until [`InFlight::finish`], or until what is given here is dropped.
    pub fn begin(&self, context: &Context) -> InFlight {
        let info = &context.info;
        let dry_run = context.query.get("dryRun").unwrap_or_default();
        let in_flight = InFlight {
            metrics: self.clone(),
            labels: Labels::of(info),
            // Free text of clients makes no series.
            dry_run: if dry_run == "All" { "All" } else { "" },
            kind: if info.is_long_running() {
                None
            } else if matches!(info.verb.as_str(), "get" | "list" | "head" | "options") {
                Some("readOnly")
            } else {
                Some("mutating")
            },
            start: Instant::now(),
            waited: Duration::ZERO,
        };
        in_flight.count(1.0);
        in_flight
    }

    /// Serves how many objects of each resource are stored; `counts` is asked at each scrape.
    pub fn serve_stored_objects(
        &self,
        counts: impl Fn() -> Vec<(GroupResource, usize)> + Clone + Send + Sync + 'static,
    ) {
        let help = "Number of stored objects at the time of last check split by kind.";
        let by_group = counts.clone();
        self.registry
            .on_scrape("apiserver_storage_objects", help, "gauge", move |sink| {
                for (resource, count) in counts() {
                    sink.sample(&[("resource", &resource.to_string())], count as f64);
                }
            });
        self.registry
            .on_scrape("apiserver_resource_objects", help, "gauge", move |sink| {
                for (resource, count) in by_group() {
                    sink.sample(
                        &[("group", &resource.group), ("resource", &resource.resource)],
                        count as f64,
                    );
                }
            });
    }
}

/// A request under way; see [`Metrics::begin`].
pub struct InFlight {
    metrics: Metrics,
    labels: Labels,
    dry_run: &'static str,
    /// What sort of place it takes; none for watches and streams, which last as long as they like.
    kind: Option<&'static str>,
    start: Instant,
    waited: Duration,
}

impl InFlight {
    /// It has been answered with this code.
    pub fn finish(self, code: u16) {
        let Metrics {
            requests, seconds, ..
        } = &self.metrics;
        let Labels {
            group,
            version,
            resource,
            subresource,
            scope,
            verb,
        } = &self.labels;
        let (code, dry_run) = (code.to_string(), self.dry_run);
        requests.increment(&[
            &code,
            "apiserver",
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ]);
        // How long a stream lasts says nothing of the server.
        if self.kind.is_some() {
            let values = [
                "apiserver",
                dry_run,
                group,
                resource,
                scope,
                subresource,
                verb,
                version,
            ];
            let elapsed = self.start.elapsed();
            seconds.observe(&values, elapsed.as_secs_f64());
            let own = elapsed.saturating_sub(self.waited).as_secs_f64();
            self.metrics
                .sli_seconds
                .observe(&self.labels.of_request(), own);
        }
    }

    /// How many bytes the answer has; of one that is made while it is sent nobody knows.
    pub fn note_size(&self, bytes: usize) {
        self.metrics
            .sizes
            .observe(&self.labels.of_request(), bytes as f64);
    }

    /// So long it waited for its turn, which is not the server's own slowness.
    pub fn note_wait(&mut self, waited: Duration) {
        self.waited += waited;
    }

    fn count(&self, by: f64) {
        match self.kind {
            Some(kind) => self.metrics.inflight.add(&[kind], by),
            None => self.metrics.long_running.add(&self.labels.of_request(), by),
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.count(-1.0);
    }
}

/// A request's label values, all of bounded sets.
struct Labels {
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    verb: String,
}

impl Labels {
    /// The values of [`REQUEST`].
    fn of_request(&self) -> [&str; 7] {
        [
            "apiserver",
            &self.group,
            &self.resource,
            self.scope,
            &self.subresource,
            &self.verb,
            &self.version,
        ]
    }

    fn of(info: &RequestInfo) -> Self {
        if !info.is_resource {
            // Of other paths, only the first segment: scanners ask for any.
            let first = info
                .path
                .trim_start_matches('/')
                .split('/')
                .next()
                .unwrap_or_default();
            let known = [
                "api", "apis", "healthz", "livez", "readyz", "metrics", "openapi", "version",
                "openid",
            ];
            let subresource = if known.contains(&first) {
                format!("/{first}")
            } else {
                String::new()
            };
            let verb = known_verb(&info.verb.to_ascii_uppercase());
            return Self {
                group: String::new(),
                version: String::new(),
                resource: String::new(),
                subresource,
                scope: "",
                verb,
            };
        }
        let scope = match (info.namespace.is_empty(), info.name.is_empty()) {
            (_, false) => "resource",
            (false, true) => "namespace",
            (true, true) => "cluster",
        };
        // A resource that is not served would be the client's text.
        let served = api::kinds::by_resource(&info.gvr()).is_some();
        let text = |text: &str| {
            if served {
                text.to_owned()
            } else {
                String::new()
            }
        };
        let verb = match info.verb.as_str() {
            "create" => "POST".to_owned(),
            "update" => "PUT".to_owned(),
            "deletecollection" => "DELETECOLLECTION".to_owned(),
            other => known_verb(&other.to_ascii_uppercase()),
        };
        Self {
            group: text(&info.group_version.group),
            version: text(&info.group_version.version),
            resource: text(&info.resource),
            subresource: text(&info.subresource),
            scope,
            verb,
        }
    }
}

fn known_verb(verb: &str) -> String {
    const KNOWN: [&str; 9] = [
        "GET", "LIST", "WATCH", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "PROXY",
    ];
    if KNOWN.contains(&verb) {
        verb.to_owned()
    } else {
        "other".to_owned()
    }
}
