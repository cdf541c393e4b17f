//! The server's metrics, under upstream's names, so that dashboards and alerts written for it work.
//!
//! Here is what the pipeline counts of requests. What other parts count stands beside these, in files of this name.

mod attempts;
mod labels;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, OnceLock, PoisonError, RwLock},
    time::{Duration, Instant},
};

use api::ServedResource;
use apimachinery::gvk::{GroupResource, GroupVersionResource};
use base::metrics::{
    Counter, CounterSeries, Gauge, GaugeSeries, Histogram, HistogramSeries, Registry, exponential,
    linear,
};
use bytes::Bytes;
use etcd::Kv;
use http::{HeaderValue, Response, header};

use crate::{context::Context, discovery::Version, request_info::RequestInfo};

use labels::{Labels, reported_verb};

pub(crate) use attempts::{Attempts, SECONDS};
pub(crate) use labels::scope;

/// Upstream's bounds for `apiserver_request_duration_seconds`.
const REQUEST_SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// Upstream's bounds for `apiserver_request_sli_duration_seconds`: the same, but for the shortest two.
const SLI_SECONDS: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0,
    30.0, 45.0, 60.0,
];

/// Upstream's bounds for `apiserver_request_filter_duration_seconds`.
const FILTER_SECONDS: &[f64] = &[
    0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 5.0, 10.0, 15.0, 30.0,
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
    body_sizes: Histogram,
    sli_seconds: Histogram,
    filter_seconds: Histogram,
    terminations: Counter,
    self_requests: Counter,
    storage: OnceLock<(Arc<dyn Kv>, Gauge)>,
    served: OnceLock<Box<Served>>,
}

/// Finds what is served, custom resources included.
type Served = dyn Fn(&GroupVersionResource) -> Option<Arc<ServedResource>> + Send + Sync;

/// Upstream's bounds for `apiserver_response_sizes`, in bytes.
const BYTES: &[f64] = &exponential::<7>(1e3, 10.0);

/// Upstream's bounds for `apiserver_request_body_size_bytes`: up to the largest body there may be.
const BODY_BYTES: &[f64] = &linear::<31>(50_000.0, 100_000.0);

/// A store that does not say in time how large it is is shown as before.
const SIZE_TIMEOUT: Duration = Duration::from_secs(1);

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

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Into a registry of its own, which also holds the process' metrics.
    pub fn new() -> Self {
        let registry = Registry::new();
        base::metrics::process(&registry);
        build_info(&registry);
        Self(Arc::new(Families {
            known: RwLock::default(),
            requests: registry.counter(
                "apiserver_request_total",
                "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.",
                &["code", "component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"],
            ),
            seconds: registry.histogram(
                "apiserver_request_duration_seconds",
                "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.",
                &["component", "dry_run", "group", "resource", "scope", "subresource", "verb", "version"],
                REQUEST_SECONDS,
            ),
            inflight: registry.gauge(
                "apiserver_current_inflight_requests",
                "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
                &["request_kind"],
            ),
            long_running: registry.gauge(
                "apiserver_longrunning_requests",
                "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.",
                REQUEST,
            ),
            sizes: registry.histogram(
                "apiserver_response_sizes",
                "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and component.",
                REQUEST,
                BYTES,
            ),
            sli_seconds: registry.histogram(
                "apiserver_request_sli_duration_seconds",
                "[ALPHA] Response latency distribution (not counting webhook duration and priority & fairness queue wait times) in seconds for each verb, group, version, resource, subresource, scope and component.",
                REQUEST,
                SLI_SECONDS,
            ),
            body_sizes: registry.histogram(
                "apiserver_request_body_size_bytes",
                "[ALPHA] Apiserver request body size in bytes broken out by resource and verb.",
                &["group", "resource", "verb"],
                BODY_BYTES,
            ),
            filter_seconds: registry.histogram(
                "apiserver_request_filter_duration_seconds",
                "[ALPHA] Request filter latency distribution in seconds, for each filter type",
                &["filter"],
                FILTER_SECONDS,
            ),
            terminations: registry.counter(
                "apiserver_request_terminations_total",
                "[ALPHA] Number of requests which apiserver terminated in self-defense.",
                &["code", "component", "group", "resource", "scope", "subresource", "verb", "version"],
            ),
            self_requests: registry.counter(
                "apiserver_selfrequest_total",
                "[ALPHA] Counter of apiserver self-requests broken out for each verb, API resource and subresource.",
                &["group", "resource", "subresource", "verb"],
            ),
            storage: OnceLock::new(),
            served: OnceLock::new(),
            registry,
        }))
    }

    /// Where other parts of the server register what they count.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Where custom resources are found; until then their requests are counted as those to nothing that is served.
    pub(crate) fn find_served(
        &self,
        find: impl Fn(&GroupVersionResource) -> Option<Arc<ServedResource>> + Send + Sync + 'static,
    ) {
        // Said once, at the start.
        let _ = self.0.served.set(Box::new(find));
    }

    /// Serves how large the store is; it is asked at each scrape.
    pub(crate) fn serve_storage_size(&self, kv: Arc<dyn Kv>) {
        let gauge = self.0.registry.gauge(
            "apiserver_storage_size_bytes",
            "[STABLE] Size of the storage database file physically allocated in bytes.",
            &["storage_cluster_id"],
        );
        // Said once, at the start.
        let _ = self.0.storage.set((kv, gauge));
    }

    async fn note_storage_size(&self) {
        let Some((kv, gauge)) = self.0.storage.get() else {
            return;
        };
        if let Ok(Ok(Some(bytes))) = tokio::time::timeout(SIZE_TIMEOUT, kv.size_bytes()).await {
            gauge.set(&["etcd-0"], bytes as f64);
        }
    }

    /// `/metrics`.
    pub async fn respond(&self) -> Response<Bytes> {
        self.note_storage_size().await;
        let mut response = Response::new(Bytes::from(self.0.registry.encode()));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(base::metrics::TEXT_FORMAT),
        );
        response
    }

    /// Begins all counts anew, as upstream does for who may delete `/metrics`.
    pub fn reset(&self) -> Response<Bytes> {
        self.0.registry.reset();
        let mut response = Response::new(Bytes::from_static(b"metrics reset\n"));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        response
    }

    /// A request has come in. It counts as under way until [`InFlight::finish`], or until what is given here is dropped.
    pub fn begin(&self, context: &Context) -> InFlight {
        let info = &context.info;
        let dry_run = context.query.get("dryRun").unwrap_or_default();
        // Free text of clients makes no series.
        let dry_run = match dry_run {
            "All" => "All",
            "" => "",
            _ => "invalid",
        };
        let header = |name| context.headers.get(name).map(HeaderValue::as_bytes);
        let applies = header(header::CONTENT_TYPE) == Some(b"application/apply-patch+yaml");
        let verb = reported_verb(info, applies);
        let in_flight = InFlight {
            series: self.series(info, verb, dry_run),
            start: Instant::now(),
            waited: Duration::ZERO,
            terminated: false,
        };
        let agent = header(header::USER_AGENT).unwrap_or_default();
        if agent.starts_with(b"kube-apiserver/") {
            let labels = &in_flight.series.labels;
            let values = [&labels.group, &labels.resource, &labels.subresource];
            let [group, resource, subresource] = values.map(String::as_str);
            let values = [group, resource, subresource, verb];
            self.0.self_requests.increment(&values);
        }
        in_flight.series.under_way.add(1.0);
        in_flight
    }

    /// Connections whose TLS handshake failed.
    pub(crate) fn handshake_errors(&self) -> CounterSeries {
        let errors = self.0.registry.counter(
            "apiserver_tls_handshake_errors_total",
            "[ALPHA] Number of requests dropped with 'TLS handshake error from' error",
            &[],
        );
        errors.series(&[])
    }

    /// How long a stage of the pipeline takes.
    pub(crate) fn of_filter(&self, name: &str) -> HistogramSeries {
        self.0.filter_seconds.series(&[name])
    }

    /// The body of a write has been read.
    pub(crate) fn note_request_body(&self, context: &Context) {
        let info = &context.info;
        let verb = match info.verb.as_str() {
            verb @ ("create" | "update" | "patch" | "delete") => verb,
            "deletecollection" => "delete_collection",
            _ => return,
        };
        // A body is read of what is served alone: the names are no free text.
        if let Some(bytes) = context.body_bytes() {
            let values = [&*info.group_version.group, &info.resource, verb];
            self.0.body_sizes.observe(&values, bytes as f64);
        }
    }

    /// The series of a request: found by its hash if others like it came before.
    fn series(
        &self,
        info: &RequestInfo,
        verb: &'static str,
        dry_run: &'static str,
    ) -> Arc<RequestSeries> {
        let hash = hash_of(info, verb, dry_run);
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        let alike = known.get(&hash).into_iter().flatten();
        if let Some(found) = alike
            .into_iter()
            .find(|series| series.is_of(info, verb, dry_run))
        {
            return Arc::clone(found);
        }
        drop(known);
        let series = Arc::new(RequestSeries::new(&self.0, info, verb, dry_run));
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
        let help = "[STABLE] (Deprecated since 1.34.0) [DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.";
        let by_group = counts.clone();
        self.0
            .registry
            .on_scrape("apiserver_storage_objects", help, "gauge", move |sink| {
                for (resource, count) in counts() {
                    sink.sample(&[("resource", &resource.to_string())], count as f64);
                }
            });
        let help = "[ALPHA] Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1.";
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
    terminated: bool,
}

impl InFlight {
    /// It has been answered with this code.
    pub fn finish(self, code: u16) {
        self.series.answered(code);
        if self.terminated {
            self.series.terminated(code);
        }
        // How long a stream lasts says nothing of the server.
        if self.series.ends {
            let elapsed = self.start.elapsed();
            self.series.seconds.observe(elapsed.as_secs_f64());
            if self.series.dry_run.is_empty() {
                let own = elapsed.saturating_sub(self.waited).as_secs_f64();
                self.series.sli_seconds.observe(own);
            }
        }
    }

    /// How many bytes the answer to a read has; of one that is made while it is sent nobody knows.
    pub fn note_size(&self, bytes: usize) {
        if matches!(self.series.labels.verb, "GET" | "LIST") {
            self.series.sizes.observe(bytes as f64);
        }
    }

    /// The server ends it in its own defence: it takes too long, or there are too many.
    pub fn note_terminated(&mut self) {
        self.terminated = true;
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
    dry_run: &'static str,
    /// Whether such a request ends by itself: watches and streams last as long as they like.
    ends: bool,
    requests: Counter,
    terminations: Counter,
    by_code: RwLock<Vec<(u16, CounterSeries)>>,
    seconds: HistogramSeries,
    sli_seconds: HistogramSeries,
    sizes: HistogramSeries,
    under_way: GaugeSeries,
}

fn hash_of(info: &RequestInfo, verb: &str, dry_run: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    let gv = &info.group_version;
    let parts = (
        verb,
        &*gv.group,
        &*gv.version,
        &info.resource,
        &info.subresource,
    );
    (parts, scope(info), dry_run, info.is_resource).hash(&mut hasher);
    hasher.finish()
}

impl RequestSeries {
    fn new(
        families: &Families,
        info: &RequestInfo,
        verb: &'static str,
        dry_run: &'static str,
    ) -> Self {
        let labels = Labels::of(info, verb, |gvr| families.served.get()?(gvr));
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
            dry_run,
            ends,
            requests: families.requests.clone(),
            terminations: families.terminations.clone(),
            by_code: RwLock::default(),
            seconds: families.seconds.series(&with_dry_run),
            sli_seconds: families.sli_seconds.series(&of_request),
            sizes: families.sizes.series(&of_request),
            under_way,
            labels,
        }
    }

    fn is_of(&self, info: &RequestInfo, verb: &str, dry_run: &str) -> bool {
        self.labels.verb == verb
            && self.dry_run == dry_run
            && self.labels.scope == scope(info)
            && self.labels.say_it_all(info)
    }

    /// Seldom enough to look for the series each time.
    fn terminated(&self, code: u16) {
        let [
            component,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ] = self.labels.of_request();
        self.terminations.increment(&[
            &code.to_string(),
            component,
            group,
            resource,
            scope,
            subresource,
            verb,
            version,
        ]);
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

/// Which build this is, and which version's behaviour it shows.
fn build_info(registry: &Registry) {
    let document = Version::CURRENT.document();
    let text = |name: &str| document.get(name).and_then(serde_json::Value::as_str);
    let text = |name| text(name).unwrap_or_default();
    let build = registry.gauge(
        "kubernetes_build_info",
        "[BETA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
        &[
            "build_date",
            "compiler",
            "git_commit",
            "git_tree_state",
            "git_version",
            "go_version",
            "major",
            "minor",
            "platform",
        ],
    );
    let names = [
        "buildDate",
        "compiler",
        "gitCommit",
        "gitTreeState",
        "gitVersion",
        "goVersion",
        "major",
        "minor",
        "platform",
    ];
    build.set(&names.map(text), 1.0);
    let version = registry.gauge(
        "version_info",
        "[ALPHA] Provides the compatibility version info of the component. The component label is the name of the component, usually kube, but is relevant for aggregated-apiservers.",
        &["binary", "component", "emulation", "min_compat"],
    );
    let version_of = |major, minor| format!("{}.{}", text(major), text(minor));
    let emulation = version_of("emulationMajor", "emulationMinor");
    let least = version_of("minCompatibilityMajor", "minCompatibilityMinor");
    let own = version_of("major", "minor");
    version.set(&[&own, "kube", &emulation, &least], 1.0);
}

#[cfg(test)]
mod tests {
    use http::{Method, Request};

    use apimachinery::gvk::GroupVersion;

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
        let metrics = Metrics::new();
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

    #[test]
    fn custom_resources_are_counted_as_such_once_they_are_served() {
        let metrics = Metrics::new();
        let uri = "/apis/example.com/v1/namespaces/default/widgets/a";
        count(&metrics, Method::GET, uri, 404);
        // Widgets have subresources as Deployments have.
        let deployments = GroupVersion::new("apps", "v1").resource("deployments");
        let row = api::kinds::by_resource(&deployments).unwrap();
        let row = Arc::new(ServedResource::from(row));
        metrics.find_served(move |gvr| (gvr.resource == "widgets").then(|| Arc::clone(&row)));
        count(&metrics, Method::GET, uri, 200);
        count(&metrics, Method::GET, &format!("{uri}/status"), 200);
        let shown = metrics.registry().encode();
        let of = |code, resource, subresource| {
            let (group, version) = match resource {
                "" => ("", ""),
                _ => ("example.com", "v1"),
            };
            format!(
                r#"apiserver_request_total{{code="{code}",component="apiserver",dry_run="",group="{group}",resource="{resource}",scope="resource",subresource="{subresource}",verb="GET",version="{version}"}} 1"#
            )
        };
        for sample in [
            of(404, "", ""),
            of(200, "widgets", ""),
            of(200, "widgets", "status"),
        ] {
            assert!(shown.contains(&sample), "{sample}\n{shown}");
        }
    }
}
