//! The server's metrics, under upstream's names, so that dashboards and alerts written for it work.

use std::time::Duration;

use base::metrics::{Counter, Gauge, Histogram, Registry};
use bytes::Bytes;
use http::{HeaderValue, Response, header};

use crate::{context::Context, request_info::RequestInfo};

/// Upstream's bounds for `apiserver_request_duration_seconds`.
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];

/// What the pipeline counts.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    requests: Counter,
    seconds: Histogram,
    inflight: Gauge,
    longrunning: Gauge,
    objects: Gauge,
    objects_by_group: Gauge,
}

impl Metrics {
    /// Into a registry of its own, which also holds the process' metrics.
    pub fn new(git_version: &str) -> Self {
        let registry = Registry::new();
        base::metrics::process(&registry);
        let build = registry.gauge("kubernetes_build_info", "Which build this is.", &["git_version", "major", "minor"]);
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
            longrunning: registry.gauge(
                "apiserver_longrunning_requests",
                "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component.",
                &["component", "group", "resource", "scope", "subresource", "verb", "version"],
            ),
            objects: registry.gauge(
                "apiserver_storage_objects",
                "Number of stored objects at the time of last check split by kind.",
                &["resource"],
            ),
            objects_by_group: registry.gauge(
                "apiserver_resource_objects",
                "Number of stored objects at the time of last check split by kind.",
                &["group", "resource"],
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
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(base::metrics::TEXT_FORMAT));
        response
    }

    /// A request has come in. What is given back counts it out again when it is dropped.
    pub fn enter(&self, info: &RequestInfo, long_running: bool) -> InFlight {
        let labels = Labels::of(info);
        let in_flight = InFlight { metrics: self.clone(), labels, long_running, mutating: is_mutating(info) };
        in_flight.count(1.0);
        in_flight
    }

    /// A request has been answered, after so long.
    pub fn observe(&self, context: &Context, code: u16, took: Duration) {
        let labels = Labels::of(&context.info);
        let dry_run = context.query.get("dryRun").unwrap_or_default();
        // Free text of clients makes no series.
        let dry_run = if dry_run == "All" { dry_run } else { "" };
        let Labels { group, version, resource, subresource, scope, verb } = &labels;
        let code = code.to_string();
        self.requests.increment(&[&code, "apiserver", dry_run, group, resource, scope, subresource, verb, version]);
        // How long a watch lasts says nothing of the server.
        if verb != "WATCH" && verb != "CONNECT" {
            let seconds = took.as_secs_f64();
            self.seconds.observe(&["apiserver", dry_run, group, resource, scope, subresource, verb, version], seconds);
        }
    }

    /// How many objects of a resource are stored. `resource` is `deployments.apps`, or `pods` in the core group.
    pub fn set_stored_objects(&self, resource: &apimachinery::gvk::GroupResource, count: usize) {
        self.objects.set(&[&resource.to_string()], count as f64);
        self.objects_by_group.set(&[&resource.group, &resource.resource], count as f64);
    }
}

/// A request under way; see [`Metrics::enter`].
pub struct InFlight {
    metrics: Metrics,
    labels: Labels,
    long_running: bool,
    mutating: bool,
}

impl InFlight {
    fn count(&self, by: f64) {
        if self.long_running {
            let Labels { group, version, resource, subresource, scope, verb } = &self.labels;
            let values = ["apiserver", group, resource, scope, subresource, verb, version];
            self.metrics.longrunning.add(&values, by);
        } else {
            let kind = if self.mutating { "mutating" } else { "readOnly" };
            self.metrics.inflight.add(&[kind], by);
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
    fn of(info: &RequestInfo) -> Self {
        if !info.is_resource {
            // Of other paths, only the first segment: scanners ask for any.
            let first = info.path.trim_start_matches('/').split('/').next().unwrap_or_default();
            let known = ["api", "apis", "healthz", "livez", "readyz", "metrics", "openapi", "version", "openid"];
            let subresource = if known.contains(&first) { format!("/{first}") } else { String::new() };
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
        let text = |text: &str| if served { text.to_owned() } else { String::new() };
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
    const KNOWN: [&str; 9] = ["GET", "LIST", "WATCH", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "PROXY"];
    if KNOWN.contains(&verb) { verb.to_owned() } else { "other".to_owned() }
}

fn is_mutating(info: &RequestInfo) -> bool {
    !matches!(info.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
}
