//! The scheduler's metrics, under upstream's names.
//!
//! What is counted at every pod has its series found beforehand, so that counting is an atomic add.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use base::metrics::{
    Counter, CounterSeries, Gauge, GaugeSeries, Histogram, HistogramSeries, Registry, exponential,
};

use crate::framework::Point;

const ATTEMPT_SECONDS: [f64; 15] = exponential(0.001, 2.0);
const POINT_SECONDS: [f64; 12] = exponential(0.0001, 2.0);
const SLI_SECONDS: [f64; 20] = exponential(0.01, 2.0);
const VICTIMS: [f64; 7] = exponential(1.0, 2.0);
const ATTEMPTS: [f64; 5] = exponential(1.0, 2.0);

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    Scheduled,
    Unschedulable,
    Error,
}

impl Attempt {
    const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unschedulable => "unschedulable",
            Self::Error => "error",
        }
    }
}

/// All of them but the queue's.
#[derive(Clone)]
pub(crate) struct Metrics {
    attempts: Counter,
    attempt_seconds: Histogram,
    algorithm_seconds: HistogramSeries,
    preemptions: CounterSeries,
    victims: HistogramSeries,
    sli_seconds: Histogram,
    pod_attempts: HistogramSeries,
    point_seconds: Histogram,
}

impl Metrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let attempts = registry.counter(
            "scheduler_schedule_attempts_total",
            "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem.",
            &["result", "profile"],
        );
        let attempt_seconds = registry.histogram(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            &["result", "profile"],
            &ATTEMPT_SECONDS,
        );
        let algorithm_seconds = registry.histogram(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Scheduling algorithm latency in seconds",
            &[],
            &ATTEMPT_SECONDS,
        );
        let preemptions = registry.counter(
            "scheduler_preemption_attempts_total",
            "Total preemption attempts in the cluster till now",
            &[],
        );
        let victims = registry.histogram(
            "scheduler_preemption_victims",
            "Number of selected preemption victims",
            &[],
            &VICTIMS,
        );
        let pod_attempts = registry.histogram(
            "scheduler_pod_scheduling_attempts",
            "Number of attempts to successfully schedule a pod.",
            &[],
            &ATTEMPTS,
        );
        Self {
            attempts,
            attempt_seconds,
            algorithm_seconds: algorithm_seconds.series(&[]),
            preemptions: preemptions.series(&[]),
            victims: victims.series(&[]),
            sli_seconds: registry.histogram(
                "scheduler_pod_scheduling_sli_duration_seconds",
                "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts.",
                &["attempts"],
                &SLI_SECONDS,
            ),
            pod_attempts: pod_attempts.series(&[]),
            point_seconds: registry.histogram(
                "scheduler_framework_extension_point_duration_seconds",
                "Latency for running all plugins of a specific extension point.",
                &["extension_point", "status", "profile"],
                &POINT_SECONDS,
            ),
        }
    }

    /// An attempt ended that began then.
    pub(crate) fn attempted(&self, profile: &str, result: Attempt, began: Instant) {
        let labels = &[result.name(), profile];
        self.attempts.increment(labels);
        self.attempt_seconds
            .observe(labels, began.elapsed().as_secs_f64());
    }

    /// A decision was made, or not, that began then.
    pub(crate) fn decided(&self, began: Instant) {
        self.algorithm_seconds
            .observe(began.elapsed().as_secs_f64());
    }

    /// A pod was bound so long after it came, at its so many-th attempt.
    pub(crate) fn scheduled(&self, after: Duration, attempts: u32) {
        self.pod_attempts.observe(f64::from(attempts));
        let label = match attempts {
            0..=15 => attempts.to_string(),
            _ => "15+".to_owned(),
        };
        self.sli_seconds.observe(&[&label], after.as_secs_f64());
    }

    /// Room was looked for; so many pods have to go.
    pub(crate) fn preempted(&self, victims: Option<usize>) {
        self.preemptions.increment();
        if let Some(victims) = victims {
            self.victims.observe(victims as f64);
        }
    }

    /// For the extension points of a profile.
    pub(crate) fn points(&self, profile: &str) -> PointMetrics {
        PointMetrics {
            seconds: self.point_seconds.clone(),
            profile: profile.into(),
            successes: Arc::default(),
        }
    }
}

/// How long the extension points of one profile take.
#[derive(Clone)]
pub(crate) struct PointMetrics {
    seconds: Histogram,
    profile: Arc<str>,
    /// The series of what mostly happens, by point.
    successes: Arc<[OnceLock<HistogramSeries>; Point::ALL.len()]>,
}

impl PointMetrics {
    /// All plugins of a point were asked, from then on; what came of it in upstream's word.
    pub(crate) fn asked(&self, point: Point, status: &str, began: Instant) {
        let took = began.elapsed().as_secs_f64();
        let labels = &[point.name(), status, &self.profile];
        if status == "Success" {
            self.successes[point as usize]
                .get_or_init(|| self.seconds.series(labels))
                .observe(took);
        } else {
            self.seconds.observe(labels, took);
        }
    }
}

impl Default for PointMetrics {
    /// Of which nobody asks.
    fn default() -> Self {
        Metrics::new(&Registry::new()).points("")
    }
}

/// Where a pod waits, as upstream names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    Active,
    Backoff,
    Unschedulable,
    Gated,
}

const WAITING: [&str; 4] = ["active", "backoff", "unschedulable", "gated"];

/// The queue's.
pub(crate) struct QueueMetrics {
    pending: [GaugeSeries; 4],
    incoming: Counter,
    unschedulable: Gauge,
}

impl QueueMetrics {
    pub(crate) fn new(registry: &Registry) -> Self {
        let pending = registry.gauge(
            "scheduler_pending_pods",
            "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never attempted to schedule because they are gated.",
            &["queue"],
        );
        Self {
            pending: WAITING.map(|queue| pending.series(&[queue])),
            incoming: registry.counter(
                "scheduler_queue_incoming_pods_total",
                "Number of pods added to scheduling queues by event and queue type.",
                &["queue", "event"],
            ),
            unschedulable: registry.gauge(
                "scheduler_unschedulable_pods",
                "The number of unschedulable pods broken down by plugin name. A pod will increment the gauge for all plugins that caused it to not schedule and so this metric have meaning only when broken down by plugin.",
                &["plugin", "profile"],
            ),
        }
    }

    /// A pod came to wait there because of an event.
    pub(crate) fn came(&self, to: Waiting, event: &str) {
        self.incoming.increment(&[WAITING[to as usize], event]);
    }

    /// A pod went from one place to another; under way it waits nowhere.
    pub(crate) fn moved(&self, from: Option<Waiting>, to: Option<Waiting>) {
        if from == to {
            return;
        }
        if let Some(from) = from {
            self.pending[from as usize].add(-1.0);
        }
        if let Some(to) = to {
            self.pending[to as usize].add(1.0);
        }
    }

    /// One more pod, or one less, waits because of a plugin.
    pub(crate) fn refused(&self, plugin: &str, profile: &str, change: f64) {
        self.unschedulable.add(&[plugin, profile], change);
    }
}

impl Default for QueueMetrics {
    /// Of which nobody asks.
    fn default() -> Self {
        Self::new(&Registry::new())
    }
}
