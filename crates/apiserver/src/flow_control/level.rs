//! A priority level at work: the fair queues behind a lock, and those who wait in them.
//!
//! The lock is held for the few map operations of one decision, never across an await. A request that waits holds a [`Waiting`]; dropping it (the client
//! has gone, the deadline has passed) takes it out of its queue, or, when it was dispatched in the same moment, gives its seats back, so that
//! no dispatch is ever lost.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use base::Clock;
use tokio::sync::oneshot;

use super::{
    borrowing::Bounds,
    demand::{Demand, Integrator, TimeHistogram},
    queue_set::{Arrival, Discipline, QueueSet, Reason, Ticket},
    stats::SchemaStats,
};

/// What a dump says of a request.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) stats: Arc<SchemaStats>,
    pub(super) distinguisher: Box<str>,
    pub(super) user: Box<str>,
    pub(super) verb: Box<str>,
    pub(super) path: Box<str>,
}

/// A request that asks to execute.
pub(super) struct Applicant {
    pub(super) flow: u64,
    pub(super) seats: u32,
    pub(super) watch: bool,
    pub(super) details: Details,
}

/// Upstream's bounds for the part of a level's seats that is taken.
const UTILIZATION: &[f64] = &[
    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0,
];
/// Its bounds for the seats asked for.
const WANTED: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];

/// A priority level.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) name: Box<str>,
    clock: Clock,
    state: Mutex<State>,
    /// Requests that waited in vain, and those whose client went away.
    pub(super) timed_out: AtomicU64,
    pub(super) cancelled: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) dispatched: AtomicU64,
    /// The most seats that one request may take.
    pub(super) max_seats: AtomicU32,
    retry_after: Mutex<RetryAfter>,
}

/// What the lock protects.
#[derive(Debug)]
pub(super) struct State {
    pub(super) set: QueueSet<Details>,
    waiters: HashMap<Ticket, oneshot::Sender<()>>,
    integrator: Integrator,
    /// Seats taken, of those it has.
    pub(super) utilization: TimeHistogram,
    /// Seats asked for, of those it has by its configuration.
    pub(super) wanted: TimeHistogram,
    pub(super) demand: Demand,
    pub(super) bounds: Bounds,
    /// What it aimed at in the last division of seats.
    pub(super) target: f64,
}

/// Seats taken; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    level: Arc<Level>,
    stats: Arc<SchemaStats>,
    ticket: Ticket,
    seats: u32,
    watch: bool,
    arrived: u64,
    started: u64,
}

impl Seat {
    /// How long it was waited for.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_nanos(self.started.saturating_sub(self.arrived))
    }
}

impl Level {
    pub(super) fn new(name: &str, discipline: Discipline, clock: Clock) -> Self {
        let now = nanos(&clock);
        Self {
            name: name.into(),
            state: Mutex::new(State {
                set: QueueSet::new(discipline, 0, now),
                waiters: HashMap::new(),
                integrator: Integrator::new(now),
                utilization: TimeHistogram::new(UTILIZATION, now),
                wanted: TimeHistogram::new(WANTED, now),
                demand: Demand::default(),
                bounds: Bounds::default(),
                target: 0.0,
            }),
            clock,
            timed_out: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dispatched: AtomicU64::new(0),
            max_seats: AtomicU32::new(1),
            retry_after: Mutex::default(),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over a configuration and a division of seats. `limit` none leaves the current one, within the bounds.
    pub(super) fn configure(&self, discipline: Discipline, bounds: Bounds, limit: Option<u32>) {
        let now = nanos(&self.clock);
        let woken = {
            let mut state = self.state();
            let limit = limit.unwrap_or_else(|| state.set.limit().clamp(bounds.min, bounds.max));
            state.bounds = bounds;
            let dispatched = state.set.configure(discipline, limit, now);
            state.wake(dispatched)
        };
        notify(woken);
        // No request takes more than 15 % of its level, as upstream.
        let widest = (f64::from(bounds.nominal) * 0.15).round() as u32;
        self.max_seats.store(widest.max(1), Relaxed);
    }

    /// A period ends: its figures join the history.
    pub(super) fn harvest(&self) {
        let now = nanos(&self.clock);
        let mut state = self.state();
        let harvest = state.integrator.harvest(now);
        state.demand.update(harvest);
    }

    /// The time, as its figures are measured by.
    pub(super) fn now(&self) -> u64 {
        nanos(&self.clock)
    }

    /// Waits for seats, at most for `patience`.
    pub(super) async fn enter(
        self: &Arc<Self>,
        applicant: Applicant,
        patience: Duration,
    ) -> Result<Seat, Reason> {
        let now = nanos(&self.clock);
        let Applicant {
            flow,
            seats,
            watch,
            details,
        } = applicant;
        let stats = Arc::clone(&details.stats);
        stats.estimated(seats);
        let seat = |ticket, started| Seat {
            level: Arc::clone(self),
            stats: Arc::clone(&stats),
            ticket,
            seats,
            watch,
            arrived: now,
            started,
        };
        let (arrival, answer, woken) = self.arrive(flow, seats, details, now);
        notify(woken);
        let (ticket, answer) = match (arrival, answer) {
            (Arrival::Refused(reason), _) => {
                self.refuse(&stats, reason, now);
                return Err(reason);
            }
            (Arrival::Waiting(ticket), Some(answer)) => (ticket, answer),
            (Arrival::Executing(ticket) | Arrival::Waiting(ticket), _) => {
                self.begin(&stats, seats, now, now);
                return Ok(seat(ticket, now));
            }
        };
        stats.waits(seats, 1);
        let mut waiting = Waiting {
            level: self,
            stats: &stats,
            ticket: Some(ticket),
            seats,
            arrived: now,
            reason: Reason::Cancelled,
        };
        if let Ok(Ok(())) = tokio::time::timeout(patience, answer).await {
            waiting.ticket = None;
            stats.waits(seats, -1);
            let started = nanos(&self.clock);
            self.begin(&stats, seats, now, started);
            return Ok(seat(ticket, started));
        }
        waiting.reason = Reason::TimeOut;
        drop(waiting);
        Err(Reason::TimeOut)
    }

    fn arrive(
        &self,
        flow: u64,
        seats: u32,
        details: Details,
        now: u64,
    ) -> (Arrival, Option<oneshot::Receiver<()>>, Woken) {
        let mut state = self.state();
        let mut others = Vec::new();
        let arrival = state.set.arrive(flow, seats, details, now, &mut others);
        let answer = match arrival {
            Arrival::Waiting(ticket) => {
                let (sender, receiver) = oneshot::channel();
                state.waiters.insert(ticket, sender);
                Some(receiver)
            }
            _ => None,
        };
        state.measure(now);
        (arrival, answer, state.wake(others))
    }

    fn begin(&self, stats: &SchemaStats, seats: u32, arrived: u64, now: u64) {
        self.dispatched.fetch_add(1, Relaxed);
        stats.starts(seats, seconds(arrived, now));
    }

    fn refuse(&self, stats: &SchemaStats, reason: Reason, arrived: u64) {
        let now = nanos(&self.clock);
        let counter = match reason {
            Reason::TimeOut => &self.timed_out,
            Reason::Cancelled => &self.cancelled,
            Reason::QueueFull | Reason::ConcurrencyLimit => &self.refused,
        };
        counter.fetch_add(1, Relaxed);
        stats.refuse(reason, seconds(arrived, now));
    }

    fn finish(&self, ticket: Ticket, now: u64) {
        let woken = {
            let mut state = self.state();
            let dispatched = state.set.finish(ticket, now);
            state.measure(now);
            state.wake(dispatched)
        };
        notify(woken);
    }

    /// After how many seconds one who was refused may come again.
    pub(super) fn retry_after(&self) -> u32 {
        let second = nanos(&self.clock) / 1_000_000_000;
        self.retry_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .refused(second)
    }
}

/// Those whose turn it is.
type Woken = smallvec::SmallVec<[oneshot::Sender<()>; 2]>;

fn notify(woken: Woken) {
    for sender in woken {
        // One who has gone meanwhile gives the seats back by its own drop.
        let _ = sender.send(());
    }
}

impl State {
    fn wake(&mut self, dispatched: Vec<Ticket>) -> Woken {
        dispatched
            .iter()
            .filter_map(|ticket| self.waiters.remove(ticket))
            .collect()
    }

    fn measure(&mut self, now: u64) {
        let wanted = self.set.demand();
        self.integrator.set(wanted, now);
        let of = |seats: u32, all: u32| f64::from(seats) / f64::from(all.max(1));
        self.wanted.set(of(wanted, self.bounds.nominal), now);
        self.utilization
            .set(of(self.set.seats_in_use(), self.set.limit()), now);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = nanos(&self.level.clock);
        self.level.finish(self.ticket, now);
        self.stats
            .ends(self.seats, self.watch, seconds(self.started, now));
    }
}

/// One who waits; see the module.
struct Waiting<'a> {
    level: &'a Level,
    stats: &'a SchemaStats,
    /// None once it has its seats.
    ticket: Option<Ticket>,
    seats: u32,
    arrived: u64,
    reason: Reason,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else {
            return;
        };
        let now = nanos(&self.level.clock);
        let woken = {
            let mut state = self.level.state();
            state.waiters.remove(&ticket);
            let dispatched = match state.set.cancel(ticket, now) {
                Some(dispatched) => dispatched,
                // Dispatched between the deadline and here: the seats pass on.
                None => state.set.finish(ticket, now),
            };
            state.measure(now);
            state.wake(dispatched)
        };
        notify(woken);
        self.stats.waits(self.seats, -1);
        self.level.refuse(self.stats, self.reason, self.arrived);
    }
}

/// How long the refused are asked to stay away: longer while many are refused, as upstream.
#[derive(Debug)]
struct RetryAfter {
    seconds: u32,
    /// When the present value began to hold, and how many were refused since.
    since: u64,
    refused: u32,
}

impl Default for RetryAfter {
    fn default() -> Self {
        Self {
            seconds: 1,
            since: 0,
            refused: 0,
        }
    }
}

impl RetryAfter {
    const MAX_SECONDS: u32 = 32;

    fn refused(&mut self, now: u64) -> u32 {
        let held = now.saturating_sub(self.since);
        if held >= u64::from(self.seconds) {
            // Of the last period alone: after a long quiet time the count says nothing of now.
            let periods = held / u64::from(self.seconds);
            if periods == 1 && self.refused >= 3 * self.seconds {
                self.seconds = (self.seconds * 2).min(Self::MAX_SECONDS);
            } else if periods > 1 || self.refused < self.seconds {
                let fewer = u32::try_from(periods).unwrap_or(u32::MAX);
                self.seconds = self.seconds.saturating_sub(fewer).max(1);
            }
            self.since = now;
            self.refused = 0;
        }
        self.refused += 1;
        self.seconds
    }
}

/// The clock as the core reads it.
pub(super) fn nanos(clock: &Clock) -> u64 {
    u64::try_from(clock.now().as_nanosecond()).unwrap_or(0)
}

fn seconds(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_are_kept_away_longer_while_they_are_many() {
        let mut retry = RetryAfter::default();
        let mut at = |second, times| (0..times).map(|_| retry.refused(second)).last();
        assert_eq!(at(100, 10), Some(1));
        assert_eq!(at(101, 10), Some(2));
        assert_eq!(at(103, 30), Some(4));
        assert_eq!(at(107, 1), Some(8));
        assert_eq!(at(115, 1), Some(7));
        assert_eq!(at(1000, 1), Some(1));
    }
}
