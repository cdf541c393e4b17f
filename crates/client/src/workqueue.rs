//! A queue of keys to reconcile: each key once, one worker a key at a time, delays, rate limits.
//!
//! A key added while it waits is one key; a key added while it is worked on comes again after [`Workqueue::done`]. The bound is the
//! number of distinct keys. There is no task behind a queue: delayed keys are moved over by whoever waits in [`Workqueue::get`].

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::workqueue_metrics::{Meter, Unfinished, WorkqueueMetrics};

/// How fast failing keys come back.
#[derive(Clone, Copy, Debug)]
pub struct RateLimits {
    /// Delay after the first failure of a key; it doubles with each one.
    pub base: Duration,
    /// Longest delay of a key.
    pub max: Duration,
    /// Overall: so many failing keys a second …
    pub per_second: f64,
    /// … after a burst of so many.
    pub burst: f64,
}

impl Default for RateLimits {
    /// `DefaultTypedControllerRateLimiter`: 5 ms to 1000 s a key, and 10 a second with a burst of 100 overall.
    fn default() -> Self {
        Self {
            base: Duration::from_millis(5),
            max: Duration::from_secs(1000),
            per_second: 10.0,
            burst: 100.0,
        }
    }
}

/// A work queue. Cheap to clone; clones are the same queue.
pub struct Workqueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Workqueue<T> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    limits: RateLimits,
}

impl<T: Clone + Eq + Hash + Send> Unfinished for Shared<T> {
    fn unfinished_seconds(&self) -> (f64, f64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = state.meter.as_ref();
        meter.map_or((0.0, 0.0), Meter::unfinished_seconds)
    }
}

struct State<T> {
    ready: VecDeque<T>,
    /// Waiting in `ready`, or to be added again when done.
    dirty: HashSet<T>,
    processing: HashSet<T>,
    delayed: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The delayed keys by their ticket. A key delayed twice has two tickets; the earlier one wins by the key's being dirty.
    tickets: HashMap<u64, T>,
    earliest: HashMap<T, (Instant, u64)>,
    next_ticket: u64,
    failures: HashMap<T, u32>,
    tokens: f64,
    refilled: Option<Instant>,
    shut_down: bool,
    meter: Option<Meter<T>>,
}

impl<T: Clone + Eq + Hash> Default for Workqueue<T> {
    fn default() -> Self {
        Self::new(RateLimits::default())
    }
}

impl<T: Clone + Eq + Hash> Workqueue<T> {
    /// An empty queue.
    pub fn new(limits: RateLimits) -> Self {
        Self::with_meter(limits, None)
    }

    /// An empty queue that is counted under a name.
    pub fn metered(limits: RateLimits, metrics: &WorkqueueMetrics, name: &str) -> Self
    where
        T: Send + 'static,
    {
        let queue = Self::with_meter(limits, Some(metrics.meter(name)));
        let shared: Arc<dyn Unfinished> = queue.shared.clone();
        metrics.watch(name, Arc::downgrade(&shared));
        queue
    }

    fn with_meter(limits: RateLimits, meter: Option<Meter<T>>) -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            delayed: BinaryHeap::new(),
            tickets: HashMap::new(),
            earliest: HashMap::new(),
            next_ticket: 0,
            failures: HashMap::new(),
            tokens: limits.burst,
            refilled: None,
            shut_down: false,
            meter,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
                limits,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a key, unless it waits already.
    pub fn add(&self, key: T) {
        self.state().add(key);
        self.shared.changed.notify_one();
    }

    /// Adds a key after a delay. Of several delays of one key the shortest counts.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.state();
        if let Some(meter) = &state.meter {
            meter.retry();
        }
        state.delay(key, Instant::now() + delay);
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Adds a key that failed, after a delay that grows with its failures.
    pub fn add_rate_limited(&self, key: T) {
        let delay = self
            .state()
            .next_delay(&key, &self.shared.limits, Instant::now());
        self.add_after(key, delay);
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &T) {
        self.state().failures.remove(key);
    }

    /// How often in a row a key was added by [`Workqueue::add_rate_limited`].
    pub fn num_requeues(&self, key: &T) -> u32 {
        self.state().failures.get(key).copied().unwrap_or_default()
    }

    /// Keys that wait now, without the delayed ones.
    pub fn len(&self) -> usize {
        self.state().ready.len()
    }

    /// Whether none waits now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key; it is the caller's alone until [`Workqueue::done`]. Nothing after a shutdown. Cancel safe.
    pub async fn get(&self) -> Option<T> {
        loop {
            let changed = self.shared.changed.notified();
            let wake_at = {
                let mut state = self.state();
                if state.shut_down {
                    self.shared.changed.notify_one();
                    return None;
                }
                state.release_due(Instant::now());
                if let Some(key) = state.pop() {
                    if !state.ready.is_empty() || !state.delayed.is_empty() {
                        // Another worker takes the rest, or watches over the delayed ones.
                        self.shared.changed.notify_one();
                    }
                    return Some(key);
                }
                state.delayed.peek().map(|Reverse((at, _))| *at)
            };
            match wake_at {
                None => changed.await,
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
            }
        }
    }

    /// The work on a key is over; if the key was added meanwhile, it waits again.
    pub fn done(&self, key: &T) {
        let mut state = self.state();
        state.processing.remove(key);
        if let Some(meter) = &mut state.meter {
            meter.done(key);
        }
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Ends all waiting in [`Workqueue::get`], now and later.
    pub fn shut_down(&self) {
        self.state().shut_down = true;
        self.shared.changed.notify_waiters();
        self.shared.changed.notify_one();
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, key: T) {
        if self.shut_down || !self.dirty.insert(key.clone()) {
            return;
        }
        if let Some(meter) = &mut self.meter {
            meter.add(&key);
        }
        if !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn pop(&mut self) -> Option<T> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        if let Some(meter) = &mut self.meter {
            meter.get(&key);
        }
        self.processing.insert(key.clone());
        Some(key)
    }

    fn delay(&mut self, key: T, at: Instant) {
        if self.shut_down {
            return;
        }
        if let Some((earlier, ticket)) = self.earliest.get(&key).copied() {
            if earlier <= at {
                return;
            }
            self.tickets.remove(&ticket);
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.tickets.insert(ticket, key.clone());
        self.earliest.insert(key, (at, ticket));
        self.delayed.push(Reverse((at, ticket)));
    }

    fn release_due(&mut self, now: Instant) {
        while let Some(&Reverse((at, ticket))) = self.delayed.peek() {
            let known = self.tickets.contains_key(&ticket);
            if known && at > now {
                return;
            }
            self.delayed.pop();
            if let Some(key) = self.tickets.remove(&ticket) {
                self.earliest.remove(&key);
                self.add(key);
            }
        }
    }

    fn next_delay(&mut self, key: &T, limits: &RateLimits, now: Instant) -> Duration {
        let failures = self.failures.entry(key.clone()).or_default();
        let exponent = i32::try_from(*failures).unwrap_or(i32::MAX);
        *failures = failures.saturating_add(1);
        let item = (limits.base.as_secs_f64() * 2_f64.powi(exponent)).min(limits.max.as_secs_f64());
        // A bucket that may go into debt: who comes when it is empty waits for its token.
        if let Some(refilled) = self.refilled {
            let earned = now.duration_since(refilled).as_secs_f64() * limits.per_second;
            self.tokens = (self.tokens + earned).min(limits.burst);
        }
        self.refilled = Some(now);
        self.tokens -= 1.0;
        let bucket = (-self.tokens / limits.per_second).max(0.0);
        Duration::from_secs_f64(item.max(bucket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_has_one_worker() {
        let queue = Workqueue::default();
        queue.add("a");
        queue.add("a");
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.get().await, Some("a"));
        queue.add("a");
        assert_eq!(queue.len(), 0, "it is being worked on");
        queue.done(&"a");
        assert_eq!(queue.get().await, Some("a"));
        queue.done(&"a");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_delay_counts() {
        let queue = Workqueue::default();
        let start = Instant::now();
        queue.add_after("slow", Duration::from_secs(10));
        queue.add_after("slow", Duration::from_secs(5));
        queue.add_after("slow", Duration::from_secs(20));
        queue.add_after("fast", Duration::from_secs(1));
        assert_eq!(queue.get().await, Some("fast"));
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        assert_eq!(queue.get().await, Some("slow"));
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        queue.done(&"slow");
        let again = tokio::time::timeout(Duration::from_secs(60), queue.get()).await;
        assert!(again.is_err(), "the longer delays are void");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_until_forgotten() {
        let queue = Workqueue::default();
        for (failures, delay_ms) in [(1, 5), (2, 10), (3, 20)] {
            let start = Instant::now();
            queue.add_rate_limited("a");
            assert_eq!(queue.num_requeues(&"a"), failures);
            assert_eq!(queue.get().await, Some("a"));
            queue.done(&"a");
            let waited = start.elapsed();
            assert!(
                waited >= Duration::from_millis(delay_ms)
                    && waited < Duration::from_millis(delay_ms + 2)
            );
        }
        queue.forget(&"a");
        assert_eq!(queue.num_requeues(&"a"), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_bucket_slows_many_failing_keys() {
        let queue = Workqueue::new(RateLimits {
            per_second: 10.0,
            burst: 2.0,
            ..RateLimits::default()
        });
        let start = Instant::now();
        for key in 0..12 {
            queue.add_rate_limited(key);
        }
        for _ in 0..12 {
            queue.get().await.unwrap();
        }
        assert_eq!(start.elapsed().as_millis() / 100, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_is_counted_under_its_name() {
        let registry = base::metrics::Registry::new();
        let metrics = WorkqueueMetrics::new(&registry);
        let queue = Workqueue::metered(RateLimits::default(), &metrics, "job");
        queue.add("a");
        queue.add("a");
        tokio::time::advance(Duration::from_secs(2)).await;
        queue.get().await.unwrap();
        queue.add("a");
        tokio::time::advance(Duration::from_secs(3)).await;
        let shown = registry.encode();
        for line in [
            "workqueue_adds_total{name=\"job\"} 2",
            "workqueue_depth{name=\"job\"} 1",
            "workqueue_queue_duration_seconds_sum{name=\"job\"} 2",
            "workqueue_unfinished_work_seconds{name=\"job\"} 3",
            "workqueue_longest_running_processor_seconds{name=\"job\"} 3",
        ] {
            assert!(shown.contains(&format!("\n{line}\n")), "{line}\n{shown}");
        }
        queue.done(&"a");
        queue.add_rate_limited("a");
        let shown = registry.encode();
        for line in [
            "workqueue_work_duration_seconds_sum{name=\"job\"} 3",
            "workqueue_unfinished_work_seconds{name=\"job\"} 0",
            "workqueue_retries_total{name=\"job\"} 1",
        ] {
            assert!(shown.contains(&format!("\n{line}\n")), "{line}\n{shown}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_ends_every_wait() {
        let queue = Workqueue::<u8>::default();
        let (other, third) = (queue.clone(), queue.clone());
        let waits = async { tokio::join!(other.get(), third.get()) };
        let (ends, ()) = tokio::join!(waits, async { queue.shut_down() });
        assert_eq!(ends, (None, None));
        queue.add(1);
        assert_eq!(queue.get().await, None);
    }
}
