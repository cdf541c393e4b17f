//! `apiserver_flowcontrol_*`, under upstream's names: read off the levels and schemas when somebody scrapes.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use arc_swap::ArcSwap;
use base::metrics::Registry;

use super::{
    configuration::Configuration, demand::TimeHistogram, level::State, queue_set::Reason,
    stats::SchemaStats,
};

/// A gauge of a level.
type OfLevel = (&'static str, &'static str, fn(&State) -> f64);
/// A figure of a schema and its level.
type OfSchema = (
    &'static str,
    &'static str,
    &'static str,
    fn(&SchemaStats) -> f64,
);

const OF_LEVELS: &[OfLevel] = &[
    (
        "apiserver_flowcontrol_nominal_limit_seats",
        "[BETA] Nominal number of execution seats configured for each priority level",
        |s| s.bounds.nominal.into(),
    ),
    (
        "apiserver_flowcontrol_lower_limit_seats",
        "[ALPHA] Configured lower bound on number of execution seats available to each priority level",
        |s| s.bounds.min.into(),
    ),
    (
        "apiserver_flowcontrol_upper_limit_seats",
        "[ALPHA] Configured upper bound on number of execution seats available to each priority level",
        |s| s.bounds.max.into(),
    ),
    (
        "apiserver_flowcontrol_current_limit_seats",
        "[ALPHA] current derived number of execution seats available to each priority level",
        |s| s.set.limit().into(),
    ),
    (
        "apiserver_flowcontrol_demand_seats_high_watermark",
        "[ALPHA] High watermark, over last adjustment period, of demand_seats",
        |s| s.demand.last.high_watermark,
    ),
    (
        "apiserver_flowcontrol_demand_seats_average",
        "[ALPHA] Time-weighted average, over last adjustment period, of demand_seats",
        |s| s.demand.last.average,
    ),
    (
        "apiserver_flowcontrol_demand_seats_stdev",
        "[ALPHA] Time-weighted standard deviation, over last adjustment period, of demand_seats",
        |s| s.demand.last.deviation,
    ),
    (
        "apiserver_flowcontrol_demand_seats_smoothed",
        "[ALPHA] Smoothed seat demands",
        |s| s.demand.smoothed,
    ),
    (
        "apiserver_flowcontrol_target_seats",
        "[ALPHA] Seat allocation targets",
        |s| s.target,
    ),
];

const OF_SCHEMAS: &[OfSchema] = &[
    (
        "apiserver_flowcontrol_dispatched_requests_total",
        "[BETA] Number of requests executed by API Priority and Fairness subsystem",
        "counter",
        |s| s.dispatched.load(Relaxed) as f64,
    ),
    (
        "apiserver_flowcontrol_current_inqueue_requests",
        "[BETA] Number of requests currently pending in queues of the API Priority and Fairness subsystem",
        "gauge",
        |s| s.waiting.load(Relaxed) as f64,
    ),
    (
        "apiserver_flowcontrol_current_inqueue_seats",
        "[ALPHA] Number of seats currently pending in queues of the API Priority and Fairness subsystem",
        "gauge",
        |s| s.waiting_seats.load(Relaxed) as f64,
    ),
    (
        "apiserver_flowcontrol_current_executing_requests",
        "[BETA] Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
        "gauge",
        |s| s.executing.load(Relaxed) as f64,
    ),
    (
        "apiserver_flowcontrol_current_executing_seats",
        "[BETA] Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem",
        "gauge",
        |s| s.executing_seats.load(Relaxed) as f64,
    ),
];

/// For how long a level's seats were how much in use: name, help, labels besides the level's, figure.
type OfTime = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    fn(&mut State) -> &mut TimeHistogram,
);

const OF_TIME: &[OfTime] = &[
    (
        "apiserver_flowcontrol_priority_level_seat_utilization",
        "EXPERIMENTAL: [ALPHA] Observations, at the end of every nanosecond, of utilization of seats for any stage of execution (but only initial stage for WATCHes)",
        &[("phase", "executing")],
        |s| &mut s.utilization,
    ),
    (
        "apiserver_flowcontrol_demand_seats",
        "EXPERIMENTAL: [ALPHA] Observations, at the end of every nanosecond, of (the number of seats each priority level could use) / (nominal number of seats for that level)",
        &[],
        |s| &mut s.wanted,
    ),
];

/// Registers all of them.
pub(super) fn serve(registry: &Registry, current: &Arc<ArcSwap<Configuration>>) {
    for (name, help, read) in OF_LEVELS {
        let current = Arc::clone(current);
        registry.on_scrape(name, help, "gauge", move |sink| {
            for (level, configured) in &current.load().levels {
                let value = read(&configured.level.state());
                sink.sample(&[("priority_level", level)], value);
            }
        });
    }
    for (name, help, labels, of) in OF_TIME {
        let current = Arc::clone(current);
        registry.on_scrape(name, help, "histogram", move |sink| {
            for (name, configured) in &current.load().levels {
                let level = &configured.level;
                let now = level.now();
                let (bounds, nanos, sum) = of(&mut level.state()).read(now);
                let mut labels = labels.to_vec();
                labels.push(("priority_level", name));
                sink.histogram(&labels, bounds, nanos, sum);
            }
        });
    }
    for (name, help, kind, read) in OF_SCHEMAS {
        let current = Arc::clone(current);
        registry.on_scrape(name, help, kind, move |sink| {
            for schema in current.load().schemas() {
                let stats = &schema.stats;
                sink.sample(
                    &[
                        ("flow_schema", &stats.schema),
                        ("priority_level", &stats.level),
                    ],
                    read(stats),
                );
            }
        });
    }
    let current = Arc::clone(current);
    registry.on_scrape(
        "apiserver_flowcontrol_rejected_requests_total",
        "[BETA] Number of requests rejected by API Priority and Fairness subsystem",
        "counter",
        move |sink| {
            for schema in current.load().schemas() {
                let stats = &schema.stats;
                for reason in Reason::ALL {
                    let count = stats.refused(reason);
                    // As upstream: a series comes into being with its first refusal.
                    if count > 0 {
                        let labels = [
                            ("flow_schema", &*stats.schema),
                            ("priority_level", &*stats.level),
                            ("reason", reason.as_str()),
                        ];
                        sink.sample(&labels, count as f64);
                    }
                }
            }
        },
    );
}
