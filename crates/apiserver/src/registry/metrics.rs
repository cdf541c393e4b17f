//! What is counted of reads and watches: `apiserver_cache_list_*`, `apiserver_watch_*`, `apiserver_storage_events_received_total` and their like.
//!
//! Most of it the watch caches count themselves, and it is read off them at a scrape. There is one index of a cache, its order of keys, and it has no
//! name; capacity is a bound, not what is reserved.

use std::{sync::Arc, time::Duration};

use apimachinery::gvk::GroupResource;
use base::metrics::{Counter, CounterSeries, Gauge, Histogram, HistogramSeries, exponential};

use super::{Endpoint, Registry};
use crate::cacher::{Cacher, RING_CAPACITY, Stats};

/// Upstream's bounds for `apiserver_watch_cache_read_wait_seconds`.
const WAIT_SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0,
];

/// Upstream's bounds for `apiserver_watch_list_duration_seconds`.
const WATCH_LIST_SECONDS: &[f64] = &[
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
];

/// A kilobyte to 128.
const EVENT_BYTES: &[f64] = &exponential::<8>(1024.0, 2.0);

const RESOURCE: &[&str] = &["group", "resource"];
const VERSIONED: &[&str] = &["group", "resource", "version"];

/// A revision is shown by its last 15 digits: a gauge cannot tell larger ones apart.
const SHOWN_REVISIONS: u64 = 1_000_000_000_000_000;

/// Name, help, and figure of a family that each watch cache has one series in.
type OfCache = (&'static str, &'static str, fn(&Stats) -> u64);

const OF_CACHES: &[OfCache] = &[
    (
        "apiserver_watch_cache_events_received_total",
        "[ALPHA] Counter of events received in watch cache broken by resource type.",
        |stats| stats.events.get(),
    ),
    (
        "apiserver_watch_cache_events_dispatched_total",
        "[ALPHA] Counter of events dispatched in watch cache broken by resource type.",
        |stats| stats.events.get(),
    ),
    (
        "apiserver_storage_events_received_total",
        "[BETA] Number of etcd events received split by kind.",
        |stats| stats.events.get(),
    ),
    (
        "apiserver_watch_cache_initializations_total",
        "[ALPHA] Counter of watch cache initializations broken by resource type.",
        |stats| stats.loads.get(),
    ),
    (
        "apiserver_storage_list_total",
        "[ALPHA] Number of LIST requests served from storage",
        |stats| stats.store_lists.get(),
    ),
    (
        "apiserver_storage_list_fetched_objects_total",
        "[ALPHA] Number of objects read from storage in the course of serving a LIST request",
        |stats| stats.store_objects.get(),
    ),
    (
        "apiserver_storage_list_returned_objects_total",
        "[ALPHA] Number of objects returned for a LIST request from storage",
        |stats| stats.store_objects.get(),
    ),
    (
        "apiserver_cache_list_returned_objects_total",
        "[ALPHA] Number of objects returned for a LIST request from watch cache",
        |stats| stats.returned.get(),
    ),
    (
        "apiserver_terminated_watchers_total",
        "[ALPHA] Counter of watchers closed due to unresponsiveness broken by resource type.",
        |stats| stats.terminated.get(),
    ),
];

const OF_INDEXES: &[OfCache] = &[
    (
        "apiserver_cache_list_total",
        "[ALPHA] Number of LIST requests served from watch cache",
        |stats| stats.lists.get(),
    ),
    (
        "apiserver_cache_list_fetched_objects_total",
        "[ALPHA] Number of objects read from watch cache in the course of serving a LIST request",
        |stats| stats.fetched.get(),
    ),
];

/// The families that are observed, not read off.
pub(super) struct Metrics {
    waits: Histogram,
    events: Counter,
    event_sizes: Histogram,
    watch_lists: Histogram,
    deprecated: Gauge,
}

/// What is sent to the watchers of one version of a resource.
pub(super) struct WatchSeries {
    events: CounterSeries,
    sizes: HistogramSeries,
}

impl WatchSeries {
    /// An event of so many bytes goes out.
    pub(super) fn sent(&self, bytes: usize) {
        self.events.increment();
        self.sizes.observe(bytes as f64);
    }
}

impl Metrics {
    pub(super) fn new(registry: &base::metrics::Registry) -> Self {
        Self {
            waits: registry.histogram(
                "apiserver_watch_cache_read_wait_seconds",
                "[ALPHA] Histogram of time spent waiting for a watch cache to become fresh.",
                RESOURCE,
                WAIT_SECONDS,
            ),
            events: registry.counter(
                "apiserver_watch_events_total",
                "[ALPHA] Number of events sent in watch clients",
                VERSIONED,
            ),
            event_sizes: registry.histogram(
                "apiserver_watch_events_sizes",
                "[ALPHA] Watch event size distribution in bytes",
                VERSIONED,
                EVENT_BYTES,
            ),
            watch_lists: registry.histogram(
                "apiserver_watch_list_duration_seconds",
                "[BETA] Response latency distribution in seconds for watch list requests broken by group, version, resource and scope.",
                &["group", "resource", "scope", "version"],
                WATCH_LIST_SECONDS,
            ),
            deprecated: registry.gauge(
                "apiserver_requested_deprecated_apis",
                "[STABLE] Gauge of deprecated APIs that have been requested, broken out by API group, version, resource, subresource, and removed_release.",
                &["group", "removed_release", "resource", "subresource", "version"],
            ),
        }
    }

    /// A read waited so long until the cache was fresh enough for it.
    pub(super) fn waited(&self, endpoint: &Endpoint, elapsed: Duration) {
        let Some(cacher) = &endpoint.cacher else {
            return;
        };
        let series = cacher.stats().waits.get_or_init(|| {
            let gvr = &endpoint.row.gvr;
            self.waits.series(&[&gvr.group, &gvr.resource])
        });
        series.observe(elapsed.as_secs_f64());
    }

    /// Somebody uses what is on its way out. Nothing that is served has a release yet in which it will be gone.
    pub(super) fn deprecated(&self, endpoint: &Endpoint, subresource: &str) {
        let gvr = &endpoint.row.gvr;
        let labels = [&*gvr.group, "", &*gvr.resource, subresource, &*gvr.version];
        self.deprecated.set(&labels, 1.0);
    }

    /// What a watch of `endpoint` sends.
    pub(super) fn watch_of(&self, endpoint: &Endpoint) -> WatchSeries {
        let gvr = &endpoint.row.gvr;
        let labels = [&*gvr.group, &*gvr.resource, &*gvr.version];
        WatchSeries {
            events: self.events.series(&labels),
            sizes: self.event_sizes.series(&labels),
        }
    }

    /// A watch has sent all initial objects, and the bookmark that says so.
    pub(super) fn watch_listed(&self, endpoint: &Endpoint, scope: &str, elapsed: Duration) {
        let gvr = &endpoint.row.gvr;
        let labels = [&*gvr.group, &*gvr.resource, scope, &*gvr.version];
        self.watch_lists.observe(&labels, elapsed.as_secs_f64());
    }
}

impl Registry {
    /// Shows what the watch caches count.
    pub(crate) fn serve_metrics(self: &Arc<Self>, metrics: &base::metrics::Registry) {
        for (name, help, figure) in OF_CACHES {
            let registry = Arc::clone(self);
            metrics.on_scrape(name, help, "counter", move |sink| {
                for (resource, cacher) in registry.cachers() {
                    let value = figure(cacher.stats()) as f64;
                    sink.sample(&labels(&resource), value);
                }
            });
        }
        for (name, help, figure) in OF_INDEXES {
            let registry = Arc::clone(self);
            metrics.on_scrape(name, help, "counter", move |sink| {
                for (resource, cacher) in registry.cachers() {
                    let [group, resource] = labels(&resource);
                    let labels = [group, ("index", ""), resource];
                    sink.sample(&labels, figure(cacher.stats()) as f64);
                }
            });
        }
        self.serve_gauges(metrics);
        let registry = Arc::clone(self);
        metrics.on_scrape(
            "apiserver_watch_cache_consistent_read_total",
            "[ALPHA] Counter for consistent reads from cache.",
            "counter",
            move |sink| {
                for (resource, cacher) in registry.cachers() {
                    let stats = cacher.stats();
                    let [group, resource] = labels(&resource);
                    let read = [("true", &stats.consistent), ("false", &stats.stale)];
                    for (success, count) in read.into_iter().filter(|(_, count)| count.get() > 0) {
                        let success = ("success", success);
                        let labels = [("fallback", "false"), group, resource, success];
                        sink.sample(&labels, count.get() as f64);
                    }
                }
            },
        );
    }

    fn serve_gauges(self: &Arc<Self>, metrics: &base::metrics::Registry) {
        let registry = Arc::clone(self);
        metrics.on_scrape(
            "apiserver_watch_cache_resource_version",
            "[ALPHA] Current resource version of watch cache broken by resource type. This is truncated to the 15 least significant digits.",
            "gauge",
            move |sink| {
                for (resource, cacher) in registry.cachers() {
                    let revision = u64::try_from(cacher.snapshot().revision.0).unwrap_or(0);
                    sink.sample(&labels(&resource), (revision % SHOWN_REVISIONS) as f64);
                }
            },
        );
        let registry = Arc::clone(self);
        metrics.on_scrape(
            "watch_cache_capacity",
            "[ALPHA] Total capacity of watch cache broken by resource type.",
            "gauge",
            move |sink| {
                for (resource, _) in registry.cachers() {
                    sink.sample(&labels(&resource), RING_CAPACITY as f64);
                }
            },
        );
        let registry = Arc::clone(self);
        metrics.on_scrape(
            "apiserver_resource_size_estimate_bytes",
            "[ALPHA] Estimated size of stored objects in database. Estimate is based on sum of last observed sizes of serialized objects. In case of a fetching error, the value will be -1.",
            "gauge",
            move |sink| {
                for (resource, cacher) in registry.cachers() {
                    let snapshot = cacher.snapshot();
                    let bytes: usize = snapshot.iter("", None).map(|object| object.size()).sum();
                    sink.sample(&labels(&resource), bytes as f64);
                }
            },
        );
    }

    /// The filled caches, by resource in order of name. Resources that share a cache are shown by the first of them.
    fn cachers(&self) -> Vec<(GroupResource, Arc<Cacher>)> {
        let endpoints = self.endpoints();
        let mut cachers: Vec<_> = endpoints
            .by_resource
            .iter()
            .filter_map(|(resource, endpoint)| {
                let cacher = endpoint.cacher.as_ref()?;
                cacher
                    .is_loaded()
                    .then(|| (resource.clone(), Arc::clone(cacher)))
            })
            .collect();
        cachers.sort_by(|(one, _), (other, _)| one.cmp(other));
        cachers
    }
}

fn labels(resource: &GroupResource) -> [(&'static str, &str); 2] {
    [
        ("group", &*resource.group),
        ("resource", &*resource.resource),
    ]
}
