//! Metrics of work queues, under the names of upstream's `workqueue_*`.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use base::metrics::{
    Counter, CounterSeries, Gauge, GaugeSeries, Histogram, HistogramSeries, Registry, exponential,
};
use tokio::time::Instant;

const SECONDS: [f64; 10] = exponential(10e-9, 10.0);

/// Work that is under way, for a scrape: all of its seconds, and those of the oldest.
pub(crate) trait Unfinished: Send + Sync {
    fn unfinished_seconds(&self) -> (f64, f64);
}

type Queues = Arc<Mutex<Vec<(String, Weak<dyn Unfinished>)>>>;

/// The families of a component's queues, one series a queue's name. Cheap to clone; clones are the same.
#[derive(Clone)]
pub struct WorkqueueMetrics {
    depth: Gauge,
    adds: Counter,
    queued: Histogram,
    worked: Histogram,
    retries: Counter,
    queues: Queues,
}

impl WorkqueueMetrics {
    /// In `registry`.
    pub fn new(registry: &Registry) -> Self {
        let queues = Queues::default();
        for (name, help, oldest) in [
            (
                "workqueue_unfinished_work_seconds",
                "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases.",
                false,
            ),
            (
                "workqueue_longest_running_processor_seconds",
                "How many seconds has the longest running processor for workqueue been running.",
                true,
            ),
        ] {
            let queues = Arc::clone(&queues);
            registry.on_scrape(name, help, "gauge", move |sink| {
                let queues = queues.lock().unwrap_or_else(PoisonError::into_inner);
                for (name, queue) in queues.iter() {
                    if let Some(queue) = queue.upgrade() {
                        let (all, longest) = queue.unfinished_seconds();
                        sink.sample(&[("name", name)], if oldest { longest } else { all });
                    }
                }
            });
        }
        let labels = &["name"];
        Self {
            depth: registry.gauge("workqueue_depth", "Current depth of workqueue", labels),
            adds: registry.counter(
                "workqueue_adds_total",
                "Total number of adds handled by workqueue",
                labels,
            ),
            queued: registry.histogram(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested.",
                labels,
                &SECONDS,
            ),
            worked: registry.histogram(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes.",
                labels,
                &SECONDS,
            ),
            retries: registry.counter(
                "workqueue_retries_total",
                "Total number of retries handled by workqueue",
                labels,
            ),
            queues,
        }
    }

    /// What counts for the queue of that name.
    pub(crate) fn meter<T>(&self, name: &str) -> Meter<T> {
        let labels = &[name];
        Meter {
            depth: self.depth.series(labels),
            adds: self.adds.series(labels),
            queued: self.queued.series(labels),
            worked: self.worked.series(labels),
            retries: self.retries.series(labels),
            added: HashMap::new(),
            started: HashMap::new(),
        }
    }

    /// Shows what is under way in a queue, as long as it lives.
    pub(crate) fn watch(&self, name: &str, queue: Weak<dyn Unfinished>) {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|(_, queue)| queue.strong_count() > 0);
        queues.push((name.to_owned(), queue));
    }
}

/// Counts for one queue. Bounded as the queue is, by the number of distinct keys.
pub(crate) struct Meter<T> {
    depth: GaugeSeries,
    adds: CounterSeries,
    queued: HistogramSeries,
    worked: HistogramSeries,
    retries: CounterSeries,
    added: HashMap<T, Instant>,
    started: HashMap<T, Instant>,
}

impl<T: Clone + Eq + Hash> Meter<T> {
    pub(crate) fn add(&mut self, key: &T) {
        self.adds.increment();
        self.depth.add(1.0);
        self.added.entry(key.clone()).or_insert_with(Instant::now);
    }

    pub(crate) fn get(&mut self, key: &T) {
        let now = Instant::now();
        self.depth.add(-1.0);
        if let Some(added) = self.added.remove(key) {
            self.queued.observe(now.duration_since(added).as_secs_f64());
        }
        self.started.insert(key.clone(), now);
    }

    pub(crate) fn done(&mut self, key: &T) {
        if let Some(started) = self.started.remove(key) {
            self.worked.observe(started.elapsed().as_secs_f64());
        }
    }

    pub(crate) fn retry(&self) {
        self.retries.increment();
    }

    pub(crate) fn unfinished_seconds(&self) -> (f64, f64) {
        let (mut all, mut longest) = (0.0, 0.0_f64);
        for started in self.started.values() {
            let seconds = started.elapsed().as_secs_f64();
            all += seconds;
            longest = longest.max(seconds);
        }
        (all, longest)
    }
}
