//! The proxy's metrics, under upstream's names.

use std::time::Duration;

use base::metrics::{
    Counter, CounterSeries, Gauge, GaugeSeries, Histogram, HistogramSeries, Registry, exponential,
};
use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::health::FAMILIES;

const SYNC_SECONDS: [f64; 15] = exponential(0.001, 2.0);
/// A quarter and half a second, each second of a minute, five seconds of two minutes, half a minute of five.
const PROGRAMMING_SECONDS: [f64; 80] = programming_seconds();
/// When the change happened that made an EndpointSlice what it is.
const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Changes of which it is remembered, until they are written, when they happened; of more it is not counted.
const MAX_TRIGGERS: usize = 10_000;

const fn programming_seconds() -> [f64; 80] {
    let mut bounds = [0.0; 80];
    let mut index = 0;
    while index < 80 {
        let step = index as f64;
        bounds[index] = match index {
            0 | 1 => 0.25 * (step + 1.0),
            2..=60 => step - 1.0,
            61..=72 => 60.0 + 5.0 * (step - 61.0),
            _ => 120.0 + 30.0 * (step - 73.0),
        };
        index += 1;
    }
    bounds
}

/// Where the proxy counts.
pub(crate) struct Metrics {
    seconds: [HistogramSeries; 2],
    failures: [CounterSeries; 2],
    programming: [HistogramSeries; 2],
    last: Gauge,
    queued: Gauge,
    pending: [GaugeSeries; 2],
    changes: [CounterSeries; 2],
    waiting: [u32; 2],
    triggers: Vec<Timestamp>,
    started: Timestamp,
}

/// What changed.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    Service,
    Endpoints,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry, now: Timestamp) -> Self {
        let family = &["ip_family"];
        let seconds = registry.histogram(
            "kubeproxy_sync_proxy_rules_duration_seconds",
            "SyncProxyRules latency in seconds",
            family,
            &SYNC_SECONDS,
        );
        let programming: Histogram = registry.histogram(
            "kubeproxy_network_programming_duration_seconds",
            "In Cluster Network Programming Latency in seconds",
            family,
            &PROGRAMMING_SECONDS,
        );
        let failures: Counter = registry.counter(
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total",
            "Cumulative proxy nftables sync failures",
            family,
        );
        let pending = |name, help| registry.gauge(name, help, &[]).series(&[]);
        let total = |name, help| registry.counter(name, help, &[]).series(&[]);
        Self {
            seconds: FAMILIES.map(|family| seconds.series(&[family])),
            failures: FAMILIES.map(|family| failures.series(&[family])),
            programming: FAMILIES.map(|family| programming.series(&[family])),
            last: registry.gauge(
                "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                "The last time proxy rules were successfully synced",
                family,
            ),
            queued: registry.gauge(
                "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds",
                "The last time a sync of proxy rules was queued",
                family,
            ),
            pending: [
                pending(
                    "kubeproxy_sync_proxy_rules_service_changes_pending",
                    "Pending proxy rules Service changes",
                ),
                pending(
                    "kubeproxy_sync_proxy_rules_endpoint_changes_pending",
                    "Pending proxy rules Endpoint changes",
                ),
            ],
            changes: [
                total(
                    "kubeproxy_sync_proxy_rules_service_changes_total",
                    "Cumulative proxy rules Service changes",
                ),
                total(
                    "kubeproxy_sync_proxy_rules_endpoint_changes_total",
                    "Cumulative proxy rules Endpoint changes",
                ),
            ],
            waiting: [0, 0],
            triggers: Vec::new(),
            started: now,
        }
    }

    /// Something changed; of endpoints, into what.
    pub(crate) fn changed(
        &mut self,
        change: Change,
        slice: Option<&EndpointSlice>,
        now: Timestamp,
    ) {
        let index = change as usize;
        self.changes[index].increment();
        self.pending[index].add(1.0);
        self.waiting[index] += 1;
        for family in FAMILIES {
            self.queued.set(&[family], seconds_of(now));
        }
        let annotations = slice.and_then(|slice| slice.metadata.annotations.as_ref());
        let trigger = annotations
            .and_then(|annotations| annotations.get(TRIGGER_TIME)?.parse::<Timestamp>().ok());
        // What happened before the proxy was there tells nothing of it.
        if let Some(trigger) = trigger.filter(|at| *at > self.started)
            && self.triggers.len() < MAX_TRIGGERS
        {
            self.triggers.push(trigger);
        }
    }

    /// One family has been looked at, and written if need be.
    pub(crate) fn synced(&self, family: usize, took: Duration, ok: bool, now: Timestamp) {
        self.seconds[family].observe(took.as_secs_f64());
        if !ok {
            self.failures[family].increment();
            return;
        }
        self.last.set(&[FAMILIES[family]], seconds_of(now));
        for trigger in &self.triggers {
            let took = now.duration_since(*trigger).as_secs_f64().max(0.0);
            self.programming[family].observe(took);
        }
    }

    /// All families are written.
    pub(crate) fn all_synced(&mut self) {
        self.triggers.clear();
        for (pending, waiting) in self.pending.iter().zip(&mut self.waiting) {
            pending.add(-f64::from(std::mem::take(waiting)));
        }
    }
}

fn seconds_of(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_bounds() {
        let bounds = PROGRAMMING_SECONDS;
        assert_eq!(bounds[..4], [0.25, 0.5, 1.0, 2.0]);
        assert_eq!(bounds[60..63], [59.0, 60.0, 65.0]);
        assert_eq!(bounds[72..75], [115.0, 120.0, 150.0]);
        assert_eq!(bounds[79], 300.0);
    }

    #[test]
    fn a_change_is_pending_until_it_is_written() {
        let registry = Registry::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut metrics = Metrics::new(&registry, at(100));
        let slice = |trigger: &str| EndpointSlice {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                annotations: Some([(TRIGGER_TIME.to_owned(), trigger.to_owned())].into()),
                ..Default::default()
            },
            ..EndpointSlice::default()
        };
        metrics.changed(Change::Service, None, at(102));
        metrics.changed(
            Change::Endpoints,
            Some(&slice("1970-01-01T00:01:41Z")),
            at(102),
        );
        metrics.changed(
            Change::Endpoints,
            Some(&slice("1970-01-01T00:00:01Z")),
            at(102),
        );
        let has = |line: &str| {
            let shown = registry.encode();
            assert!(shown.contains(&format!("\n{line}\n")), "{line}\n{shown}");
        };
        has("kubeproxy_sync_proxy_rules_endpoint_changes_pending 2");
        metrics.synced(0, Duration::from_millis(3), true, at(103));
        metrics.synced(1, Duration::from_millis(3), false, at(103));
        metrics.all_synced();
        has("kubeproxy_sync_proxy_rules_endpoint_changes_pending 0");
        has("kubeproxy_sync_proxy_rules_service_changes_total 1");
        has("kubeproxy_network_programming_duration_seconds_sum{ip_family=\"IPv4\"} 2");
        has("kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} 1");
        has("kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv6\"} 1");
        has("kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} 103");
    }
}
