//! The server's metrics, under upstream's names, so that dashboards and alerts written for it work.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use apimachinery::gvk::GroupResource;
use base::metrics::{
    Counter, CounterSeries, Gauge, GaugeSeries, Histogram, HistogramSeries, Registry,
};
use bytes::Bytes;
use http::{HeaderValue, Response, header};

use crate::{context::Context, request_info::RequestInfo};

/// Upstream's bounds for `apiserver_request_duration_seconds`.
const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// What the pipeline counts. Cheap to clone; clones count the same.
#[derive(Clone)]
pub struct Metrics(Arc<Families>);

struct Families {
    /// Series of requests to served resources, by the hash of what tells them apart: as many as there are resources, verbs and codes.
    known: RwLock<HashMap<u64, Vec<Arc<RequestSeries>>>>,
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
        Self(Arc::new(Families {
            known: RwLock::default(),
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
        }))
    }

    /// Where other parts of the server register what they count.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// `/metrics`.
    pub fn respond(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.0.registry.encode()));
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
        // Free text of clients makes no series.
        let dry_run = if dry_run == "All" { "All" } else { "" };
        let in_flight = InFlight {
            series: self.series(info, dry_run),
            start: Instant::now(),
            waited: Duration::ZERO,
        };
        in_flight.series.under_way.add(1.0);
        in_flight
    }

    /// The series of a request: found by its hash if others like it came before.
    fn series(&self, info: &RequestInfo, dry_run: &'static str) -> Arc<RequestSeries> {
        let hash = hash_of(info, dry_run);
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let alike = known.get(&hash).into_iter().flatten();
        if let Some(found) = alike.into_iter().find(|series| series.is_of(info, dry_run)) {
            return Arc::clone(found);
        }
        drop(known);
        let series = Arc::new(RequestSeries::new(&self.0, info, dry_run));
        if series.labels.say_it_all(info) {
            let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
            known.entry(hash).or_default().push(Arc::clone(&series));
        }
        series
    }

    /// Serves how many objects of each resource are stored; `counts` is asked at each scrape.
    pub fn serve_stored_objects(
        &self,
        counts: impl Fn() -> Vec<(GroupResource, usize)> + Clone + Send + Sync + 'static,
    ) {
        let help = "Number of stored objects at the time of last check split by kind.";
        let by_group = counts.clone();
        self.0
            .registry
            .on_scrape("apiserver_storage_objects", help, "gauge", move |sink| {
                for (resource, count) in counts() {
                    sink.sample(&[("resource", &resource.to_string())], count as f64);
                }
            });
        self.0
            .registry
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
    series: Arc<RequestSeries>,
    start: Instant,
    waited: Duration,
}

impl InFlight {
    /// It has been answered with this code.
    pub fn finish(self, code: u16) {
        self.series.answered(code);
        // How long a stream lasts says nothing of the server.
        if self.series.ends {
            let elapsed = self.start.elapsed();
            self.series.seconds.observe(elapsed.as_secs_f64());
            let own = elapsed.saturating_sub(self.waited).as_secs_f64();
            self.series.sli_seconds.observe(own);
        }
    }

    /// How many bytes the answer has; of one that is made while it is sent nobody knows.
    pub fn note_size(&self, bytes: usize) {
        self.series.sizes.observe(bytes as f64);
    }

    /// So long it waited for its turn, which is not the server's own slowness.
    pub fn note_wait(&mut self, waited: Duration) {
        self.waited += waited;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.series.under_way.add(-1.0);
    }
}

/// What is counted of requests that are alike: found once, counted with atomics.
struct RequestSeries {
    labels: Labels,
    /// As [`RequestInfo`] has it.
    verb: String,
    dry_run: &'static str,
    /// Whether such a request ends by itself: watches and streams last as long as they like.
    ends: bool,
    requests: Counter,
    by_code: RwLock<Vec<(u16, CounterSeries)>>,
    seconds: HistogramSeries,
    sli_seconds: HistogramSeries,
    sizes: HistogramSeries,
    under_way: GaugeSeries,
}

fn hash_of(info: &RequestInfo, dry_run: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let gv = &info.group_version;
    let parts = (
        &info.verb,
        &*gv.group,
        &*gv.version,
        &info.resource,
        &info.subresource,
    );
    (parts, Labels::scope(info), dry_run, info.is_resource).hash(&mut hasher);
    hasher.finish()
}

impl RequestSeries {
    fn new(families: &Families, info: &RequestInfo, dry_run: &'static str) -> Self {
        let labels = Labels::of(info);
        let of_request = labels.of_request();
        let [
            component,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ] = of_request;
        let with_dry_run = [
            component,
            dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ];
        let ends = !info.is_long_running();
        let under_way = match (ends, info.verb.as_str()) {
            (false, _) => families.long_running.series(&of_request),
            (true, "get" | "list" | "head" | "options") => families.inflight.series(&["readOnly"]),
            (true, _) => families.inflight.series(&["mutating"]),
        };
        Self {
            verb: info.verb.clone(),
            dry_run,
            ends,
            requests: families.requests.clone(),
            by_code: RwLock::default(),
            seconds: families.seconds.series(&with_dry_run),
            sli_seconds: families.sli_seconds.series(&of_request),
            sizes: families.sizes.series(&of_request),
            under_way,
            labels,
        }
    }

    fn is_of(&self, info: &RequestInfo, dry_run: &str) -> bool {
        self.verb == info.verb
            && self.dry_run == dry_run
            && self.labels.scope == Labels::scope(info)
            && self.labels.say_it_all(info)
    }

    fn answered(&self, code: u16) {
        let by_code = self.by_code.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = by_code.iter().find(|(of, _)| *of == code) {
            return counter.increment();
        }
        drop(by_code);
        let [
            component,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ] = self.labels.of_request();
        let text = code.to_string();
        let counter = self.requests.series(&[
            &text,
            component,
            self.dry_run,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ]);
        counter.increment();
        let mut by_code = self.by_code.write().unwrap_or_else(PoisonError::into_inner);
        by_code.push((code, counter));
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
    /// Whether nothing of a request to a resource was left out of them, as of what is not served.
    fn say_it_all(&self, info: &RequestInfo) -> bool {
        info.is_resource
            && self.resource == info.resource
            && self.subresource == info.subresource
            && self.group == *info.group_version.group
            && self.version == *info.group_version.version
    }

    fn scope(info: &RequestInfo) -> &'static str {
        match (
            info.is_resource,
            info.namespace.is_empty(),
            info.name.is_empty(),
        ) {
            (false, ..) => "",
            (true, _, false) => "resource",
            (true, false, true) => "namespace",
            (true, true, true) => "cluster",
        }
    }

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
        let scope = Self::scope(info);
        // A resource that is not served would be the client's text.
        let row = api::kinds::by_resource(&info.gvr());
        let served = row.is_some();
        let has =
            |name: &str| row.is_some_and(|row| row.subresources.iter().any(|s| s.name == name));
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
            subresource: if has(&info.subresource) {
                info.subresource.clone()
            } else {
                String::new()
            },
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

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use super::*;
    use crate::authn::Peer;

    fn count(metrics: &Metrics, method: Method, uri: &str, code: u16) {
        let request = Request::builder().method(method).uri(uri);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut context = Context::new(&parts, Peer::default());
        context.info = RequestInfo::parse(&parts.method, &parts.uri);
        metrics.begin(&context).finish(code);
    }

    #[test]
    fn requests_that_are_alike_share_series_and_free_text_makes_none() {
        let metrics = Metrics::new("v1.36.0");
        for name in ["a", "b"] {
            let uri = format!("/api/v1/namespaces/default/pods/{name}");
            count(&metrics, Method::GET, &uri, 200);
        }
        count(
            &metrics,
            Method::GET,
            "/api/v1/namespaces/default/pods/a",
            404,
        );
        count(
            &metrics,
            Method::DELETE,
            "/api/v1/namespaces/default/pods/a?dryRun=All",
            200,
        );
        count(
            &metrics,
            Method::GET,
            "/api/v1/namespaces/default/pods/a/status",
            200,
        );
        for text in ["x", "y"] {
            count(&metrics, Method::GET, &format!("/api/v1/{text}"), 404);
            count(
                &metrics,
                Method::GET,
                &format!("/api/v1/namespaces/default/pods/a/{text}"),
                404,
            );
            count(&metrics, Method::GET, &format!("/{text}"), 404);
        }
        let shown = metrics.registry().encode();
        for sample in [
            r#"{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1"} 2"#,
            r#"{code="404",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="",verb="GET",version="v1"} 3"#,
            r#"{code="200",component="apiserver",dry_run="All",group="",resource="pods",scope="resource",subresource="",verb="DELETE",version="v1"} 1"#,
            r#"{code="200",component="apiserver",dry_run="",group="",resource="pods",scope="resource",subresource="status",verb="GET",version="v1"} 1"#,
            r#"{code="404",component="apiserver",dry_run="",group="",resource="",scope="",subresource="",verb="GET",version=""} 2"#,
        ] {
            assert!(
                shown.contains(&format!("apiserver_request_total{sample}")),
                "{sample}\n{shown}"
            );
        }
        assert!(shown.contains("apiserver_current_inflight_requests{request_kind=\"readOnly\"} 0"));
    }
}
