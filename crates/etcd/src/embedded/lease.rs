//! When leases end. The leases themselves, and what hangs on them, are in the [store](super::store); their deadlines are here, and
//! are not on disk: as in etcd, every lease gets its full time again when the store starts.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::Clock;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{KvError, LeaseId};

/// The deadlines, and the task that is woken when the first of them changes.
#[derive(Debug)]
pub(super) struct Deadlines {
    clock: Clock,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    leases: HashMap<LeaseId, Deadline>,
    queue: BTreeSet<(Timestamp, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    ttl: i64,
    at: Timestamp,
}

impl Deadlines {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a lease's time.
    pub(super) fn start(&self, id: LeaseId, ttl: i64) {
        let at = self.deadline(ttl);
        let mut state = self.state();
        state.leases.insert(id, Deadline { ttl, at });
        state.queue.insert((at, id.0));
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets a lease.
    pub(super) fn end(&self, id: LeaseId) {
        let mut state = self.state();
        if let Some(deadline) = state.leases.remove(&id) {
            state.queue.remove(&(deadline.at, id.0));
        }
    }

    /// Gives a lease its whole time again, and answers it. One whose time is over cannot be saved.
    pub(super) fn renew(&self, id: LeaseId) -> Result<i64, KvError> {
        let mut state = self.state();
        let now = self.clock.now();
        let old = state
            .leases
            .get(&id)
            .copied()
            .filter(|deadline| deadline.at > now);
        let old = old.ok_or(KvError::LeaseNotFound(id))?;
        let at = self.deadline(old.ttl);
        state.queue.remove(&(old.at, id.0));
        state.queue.insert((at, id.0));
        state.leases.insert(id, Deadline { ttl: old.ttl, at });
        // The task need not know: it wakes at the old deadline, finds nothing, and sleeps on.
        Ok(old.ttl)
    }

    /// The time granted to a lease and what is left of it, in seconds.
    pub(super) fn time_to_live(&self, id: LeaseId) -> Option<(i64, i64)> {
        let deadline = *self.state().leases.get(&id)?;
        Some((
            deadline.ttl,
            deadline
                .at
                .duration_since(self.clock.now())
                .as_secs()
                .max(0),
        ))
    }

    /// Waits until leases are over, and answers them. Each is answered once.
    pub(super) async fn expired(&self) -> Vec<LeaseId> {
        loop {
            let first = {
                let mut state = self.state();
                let now = self.clock.now();
                let mut over = Vec::new();
                while let Some((_, id)) = state.queue.first().copied().filter(|it| it.0 <= now) {
                    state.queue.pop_first();
                    over.push(LeaseId(id));
                }
                if !over.is_empty() {
                    return over;
                }
                state.queue.first().map(|(at, _)| *at)
            };
            match first {
                None => self.changed.notified().await,
                Some(at) => tokio::select! {
                    () = self.clock.sleep_until(at) => {}
                    () = self.changed.notified() => {}
                },
            }
        }
    }

    fn deadline(&self, ttl: i64) -> Timestamp {
        let ttl = Duration::from_secs(ttl.max(0).unsigned_abs());
        self.clock.now().checked_add(ttl).unwrap_or(Timestamp::MAX)
    }
}
