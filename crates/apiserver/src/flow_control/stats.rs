//! What is counted of each flow schema and level. Counting is an atomic add; names are looked up when somebody scrapes.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use base::metrics::{Histogram, HistogramSeries, Registry};

use super::queue_set::Reason;

/// Upstream's bounds for waits and executions, in seconds.
const SECONDS: &[f64] = &[
    0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
];

/// The histograms of flow control.
#[derive(Clone)]
pub(super) struct Histograms {
    wait: Histogram,
    execution: Histogram,
    estimated: Histogram,
}

/// Upstream's bounds for the seats of one request.
const SEATS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];

impl Histograms {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            wait: registry.histogram(
                "apiserver_flowcontrol_request_wait_duration_seconds",
                "[BETA] Length of time a request spent waiting in its queue",
                &["execute", "flow_schema", "priority_level"],
                SECONDS,
            ),
            execution: registry.histogram(
                "apiserver_flowcontrol_request_execution_seconds",
                "[ALPHA] Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem",
                &["flow_schema", "priority_level", "type"],
                SECONDS,
            ),
            estimated: registry.histogram(
                "apiserver_flowcontrol_work_estimated_seats",
                "[ALPHA] Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness",
                &["flow_schema", "priority_level"],
                SEATS,
            ),
        }
    }
}

/// Of one flow schema and the level it refers to.
pub(super) struct SchemaStats {
    pub(super) schema: Box<str>,
    pub(super) level: Box<str>,
    pub(super) dispatched: AtomicU64,
    rejected: [AtomicU64; Reason::ALL.len()],
    pub(super) waiting: AtomicI64,
    pub(super) waiting_seats: AtomicI64,
    pub(super) executing: AtomicI64,
    pub(super) executing_seats: AtomicI64,
    waited: HistogramSeries,
    refused: HistogramSeries,
    regular: HistogramSeries,
    watch: HistogramSeries,
    estimated: HistogramSeries,
}

impl std::fmt::Debug for SchemaStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SchemaStats({}, {})", self.schema, self.level)
    }
}

impl SchemaStats {
    pub(super) fn new(schema: &str, level: &str, histograms: &Histograms) -> Self {
        let wait = |execute| histograms.wait.series(&[execute, schema, level]);
        let execution = |kind| histograms.execution.series(&[schema, level, kind]);
        Self {
            schema: schema.into(),
            level: level.into(),
            dispatched: AtomicU64::new(0),
            rejected: Default::default(),
            waiting: AtomicI64::new(0),
            waiting_seats: AtomicI64::new(0),
            executing: AtomicI64::new(0),
            executing_seats: AtomicI64::new(0),
            waited: wait("true"),
            refused: wait("false"),
            regular: execution("regular"),
            watch: execution("watch"),
            estimated: histograms.estimated.series(&[schema, level]),
        }
    }

    /// A request came, and would take so many seats.
    pub(super) fn estimated(&self, seats: u32) {
        self.estimated.observe(f64::from(seats));
    }

    /// A request waits, or no longer does (`by` is 1 or -1).
    pub(super) fn waits(&self, seats: u32, by: i64) {
        self.waiting.fetch_add(by, Relaxed);
        self.waiting_seats.fetch_add(by * i64::from(seats), Relaxed);
    }

    /// It executes, having waited for so many seconds.
    pub(super) fn starts(&self, seats: u32, waited: f64) {
        self.dispatched.fetch_add(1, Relaxed);
        self.executing.fetch_add(1, Relaxed);
        self.executing_seats.fetch_add(i64::from(seats), Relaxed);
        self.waited.observe(waited);
    }

    /// It has ended, after so many seconds.
    pub(super) fn ends(&self, seats: u32, watch: bool, took: f64) {
        self.executing.fetch_sub(1, Relaxed);
        self.executing_seats.fetch_sub(i64::from(seats), Relaxed);
        let series = if watch { &self.watch } else { &self.regular };
        series.observe(took);
    }

    /// It was refused, after so many seconds.
    pub(super) fn refuse(&self, reason: Reason, waited: f64) {
        self.rejected[reason as usize].fetch_add(1, Relaxed);
        self.refused.observe(waited);
    }

    /// How many were refused for this reason.
    pub(super) fn refused(&self, reason: Reason) -> u64 {
        self.rejected[reason as usize].load(Relaxed)
    }
}
