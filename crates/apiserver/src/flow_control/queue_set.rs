//! Fair queuing: who of a priority level executes next. Pure and synchronous: every call carries the time and says what is to be done.
//!
//! Upstream's fair queuing for server requests (KEP-1040), after Nagle, Demers, Keshav and Shenker. Flows are dealt to queues; each queue
//! with requests is to get the same share of the level's seats. Progress is measured in *virtual time* R, in seat-seconds that each
//! active queue has been entitled to: while `n` queues are active and `s` seats are wanted, R grows by `min(s, limit) / n` a second. A queue
//! remembers the R at which its next request begins; the request that would end at the smallest R goes first. How long a request will
//! take is not known when it is dispatched: it is charged [`ESTIMATE`], and the queue's books are corrected when it ends.
//!
//! Invariants: seats in use exceed the limit only by a request wider than it, which executes alone, or after the limit was lowered; a request is
//! waiting, executing, or forgotten, and each dispatch is reported exactly once; while somebody waits, the next in order does not fit.
//!
//! Bounds: a queue holds at most `queue_length` requests once all seats are taken; there are `queues` of them.

use std::collections::{HashMap, VecDeque};

use super::shuffle_sharding::deal;

/// What a request is taken to last before it has ended, in seconds: upstream's guess.
const ESTIMATE: f64 = 0.003;
const NANOS: f64 = 1e9;

/// Names a request within its set.
pub(super) type Ticket = u64;

/// Which queues there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discipline {
    /// Everything executes at once (`Exempt`).
    Exempt,
    /// What finds no seat is refused (`limitResponse: Reject`).
    Reject,
    /// What finds no seat waits (`limitResponse: Queue`).
    Queue {
        /// How many.
        queues: usize,
        /// Of which a flow may use so many.
        hand_size: usize,
        /// And each holds so many.
        queue_length: usize,
    },
}

/// Why a request may not execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Its queue is full.
    QueueFull,
    /// There is no seat, and this level does not queue.
    ConcurrencyLimit,
    /// It waited as long as it may.
    TimeOut,
    /// The client has gone.
    Cancelled,
}

impl Reason {
    pub(crate) const ALL: [Self; 4] = [
        Self::QueueFull,
        Self::ConcurrencyLimit,
        Self::TimeOut,
        Self::Cancelled,
    ];

    /// As the metrics name it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue-full",
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::TimeOut => "time-out",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What becomes of a request that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// It executes; [`QueueSet::finish`] when it has ended.
    Executing(Ticket),
    /// It waits; some later call reports it as dispatched.
    Waiting(Ticket),
    /// It is refused.
    Refused(Reason),
}

/// One request, waiting or executing.
#[derive(Clone, Debug)]
pub(super) struct Request<T> {
    /// Where it waits or waited; none in levels without queues.
    pub(super) queue: Option<usize>,
    pub(super) seats: u32,
    pub(super) arrived: u64,
    /// When it was dispatched.
    pub(super) started: Option<u64>,
    /// What the caller knows of it.
    pub(super) tag: T,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Ticket>,
    pub(super) waiting_seats: u32,
    pub(super) executing: u32,
    pub(super) seats_in_use: u32,
    /// R at which its next request begins.
    pub(super) next_dispatch_r: f64,
}

impl Queue {
    fn is_active(&self) -> bool {
        !self.waiting.is_empty() || self.executing > 0
    }
}

/// The requests of one priority level. `T` is what the caller keeps with each.
#[derive(Debug)]
pub(super) struct QueueSet<T> {
    discipline: Discipline,
    limit: u32,
    queues: Vec<Queue>,
    requests: HashMap<Ticket, Request<T>>,
    next_ticket: Ticket,
    /// Virtual time, and the time at which it was computed.
    r: f64,
    at: u64,
    active_queues: usize,
    seats_in_use: u32,
    seats_waiting: u32,
    executing: usize,
    waiting: usize,
    /// Where the search for the next queue begins, so that ties go round.
    robin: usize,
}

impl<T> QueueSet<T> {
    pub(super) fn new(discipline: Discipline, limit: u32, now: u64) -> Self {
        let mut set = Self {
            discipline,
            limit,
            queues: Vec::new(),
            requests: HashMap::new(),
            next_ticket: 0,
            r: 0.0,
            at: now,
            active_queues: 0,
            seats_in_use: 0,
            seats_waiting: 0,
            executing: 0,
            waiting: 0,
            robin: 0,
        };
        set.resize();
        set
    }

    /// Changes queues and limit; those who wait keep their places. Answers who executes now.
    pub(super) fn configure(
        &mut self,
        discipline: Discipline,
        limit: u32,
        now: u64,
    ) -> Vec<Ticket> {
        self.advance(now);
        self.discipline = discipline;
        self.limit = limit;
        self.resize();
        self.dispatch_all(now)
    }

    /// Queues beyond the wanted ones stay until they are empty, and nobody is dealt to them.
    fn resize(&mut self) {
        let wanted = match self.discipline {
            Discipline::Queue { queues, .. } => queues,
            _ => 0,
        };
        let used = self
            .queues
            .iter()
            .rposition(Queue::is_active)
            .map_or(0, |last| last + 1);
        self.queues.resize_with(wanted.max(used), Queue::default);
    }

    /// A request has come. It may make others execute as well, for order is by virtual time and not by arrival: they are pushed to `dispatched`.
    pub(super) fn arrive(
        &mut self,
        flow: u64,
        seats: u32,
        tag: T,
        now: u64,
        dispatched: &mut Vec<Ticket>,
    ) -> Arrival {
        self.advance(now);
        let (deck, hand, queue_length) = match self.discipline {
            Discipline::Queue {
                queues,
                hand_size,
                queue_length,
            } => (queues, hand_size, queue_length),
            Discipline::Reject if !self.fits(seats) => {
                return Arrival::Refused(Reason::ConcurrencyLimit);
            }
            Discipline::Reject | Discipline::Exempt => {
                let ticket = self.remember(None, seats, tag, now);
                self.start(ticket, now);
                return Arrival::Executing(ticket);
            }
        };
        let index = self.shortest(flow, deck, hand);
        if self.seats_in_use >= self.limit && self.queues[index].waiting.len() >= queue_length {
            return Arrival::Refused(Reason::QueueFull);
        }
        let ticket = self.remember(Some(index), seats, tag, now);
        let queue = &mut self.queues[index];
        if !queue.is_active() {
            // It has nothing to catch up on: its time begins now.
            queue.next_dispatch_r = self.r;
            self.active_queues += 1;
        }
        queue.waiting.push_back(ticket);
        queue.waiting_seats += seats;
        self.waiting += 1;
        self.seats_waiting += seats;
        let before = dispatched.len();
        while let Some(next) = self.dispatch(now) {
            dispatched.push(next);
        }
        match dispatched[before..].iter().position(|next| *next == ticket) {
            Some(position) => {
                dispatched.remove(before + position);
                Arrival::Executing(ticket)
            }
            None => Arrival::Waiting(ticket),
        }
    }

    /// An executing request has ended. Answers who executes now.
    pub(super) fn finish(&mut self, ticket: Ticket, now: u64) -> Vec<Ticket> {
        self.advance(now);
        let Some(request) = self.requests.remove(&ticket) else {
            debug_assert!(false, "a request ends once");
            return Vec::new();
        };
        self.executing -= 1;
        self.seats_in_use -= request.seats;
        if let Some(index) = request.queue {
            let queue = &mut self.queues[index];
            queue.executing -= 1;
            queue.seats_in_use -= request.seats;
            let took = now.saturating_sub(request.started.unwrap_or(now)) as f64 / NANOS;
            queue.next_dispatch_r += f64::from(request.seats) * (took - ESTIMATE);
            if !queue.is_active() {
                self.active_queues -= 1;
            }
        }
        self.dispatch_all(now)
    }

    /// A waiting request gives up. `None` if it does not wait: then it executes, and is to be finished. Otherwise answers who executes now.
    pub(super) fn cancel(&mut self, ticket: Ticket, now: u64) -> Option<Vec<Ticket>> {
        let index = match self.requests.get(&ticket) {
            Some(request) if request.started.is_none() => request.queue?,
            _ => return None,
        };
        self.advance(now);
        let request = self.requests.remove(&ticket)?;
        let queue = &mut self.queues[index];
        queue.waiting.retain(|waiting| *waiting != ticket);
        queue.waiting_seats -= request.seats;
        if !queue.is_active() {
            self.active_queues -= 1;
        }
        self.waiting -= 1;
        self.seats_waiting -= request.seats;
        // It may have stood before others that fit where it did not.
        Some(self.dispatch_all(now))
    }

    /// Moves virtual time on. A clock that goes backwards stands.
    fn advance(&mut self, now: u64) {
        let seconds = now.saturating_sub(self.at) as f64 / NANOS;
        self.at = self.at.max(now);
        if self.active_queues > 0 {
            let wanted = self.seats_in_use + self.seats_waiting;
            self.r += seconds * f64::from(wanted.min(self.limit)) / self.active_queues as f64;
        }
    }

    fn remember(&mut self, queue: Option<usize>, seats: u32, tag: T, now: u64) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let request = Request {
            queue,
            seats,
            arrived: now,
            started: None,
            tag,
        };
        self.requests.insert(ticket, request);
        ticket
    }

    /// The queue of the flow's hand with the least work in it.
    fn shortest(&self, flow: u64, deck: usize, hand: usize) -> usize {
        let load = |index: &usize| {
            let queue = &self.queues[*index];
            queue.waiting_seats + queue.seats_in_use
        };
        deal(flow, deck, hand).min_by_key(load).unwrap_or(0)
    }

    fn fits(&self, seats: u32) -> bool {
        if seats > self.limit {
            // Wider than the level: it executes when nothing else does, lest it wait for ever.
            return self.executing == 0;
        }
        self.seats_in_use + seats <= self.limit
    }

    fn dispatch_all(&mut self, now: u64) -> Vec<Ticket> {
        std::iter::from_fn(|| self.dispatch(now)).collect()
    }

    /// Lets the next in order execute, if it fits.
    fn dispatch(&mut self, now: u64) -> Option<Ticket> {
        if self.waiting == 0 {
            return None;
        }
        let index = self.next_queue()?;
        let queue = &self.queues[index];
        let ticket = *queue.waiting.front()?;
        let seats = self.requests.get(&ticket)?.seats;
        if !self.fits(seats) {
            return None;
        }
        self.robin = index;
        let queue = &mut self.queues[index];
        queue.waiting.pop_front();
        queue.waiting_seats -= seats;
        queue.executing += 1;
        queue.seats_in_use += seats;
        queue.next_dispatch_r = queue.next_dispatch_r.max(self.r) + f64::from(seats) * ESTIMATE;
        self.waiting -= 1;
        self.seats_waiting -= seats;
        self.start(ticket, now);
        Some(ticket)
    }

    /// The queue whose oldest request would end first in virtual time; of equals the next in the round.
    fn next_queue(&self) -> Option<usize> {
        let count = self.queues.len();
        let mut best: Option<(f64, usize)> = None;
        for offset in 1..=count {
            let index = (self.robin + offset) % count;
            let queue = &self.queues[index];
            let Some(oldest) = queue.waiting.front() else {
                continue;
            };
            let seats = self.requests.get(oldest).map_or(1, |request| request.seats);
            let end = queue.next_dispatch_r + f64::from(seats) * ESTIMATE;
            if best.is_none_or(|(least, _)| end < least) {
                best = Some((end, index));
            }
        }
        best.map(|(_, index)| index)
    }

    fn start(&mut self, ticket: Ticket, now: u64) {
        let Some(request) = self.requests.get_mut(&ticket) else {
            return;
        };
        request.started = Some(now);
        self.executing += 1;
        self.seats_in_use += request.seats;
    }

    /// Seats wanted: of those who execute and of those who wait.
    pub(super) fn demand(&self) -> u32 {
        self.seats_in_use + self.seats_waiting
    }

    pub(super) fn executing(&self) -> usize {
        self.executing
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Seats of what executes.
    pub(super) fn seats_in_use(&self) -> u32 {
        self.seats_in_use
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit
    }

    pub(super) fn discipline(&self) -> Discipline {
        self.discipline
    }

    pub(super) fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// All requests, in order of arrival.
    pub(super) fn requests(&self) -> Vec<(Ticket, &Request<T>)> {
        let mut all: Vec<_> = self.requests.iter().map(|(t, r)| (*t, r)).collect();
        all.sort_unstable_by_key(|(ticket, _)| *ticket);
        all
    }
}

#[cfg(test)]
mod tests;
