//! The plain limits of `--max-requests-inflight` and `--max-mutating-requests-inflight`, where priority and fairness is off: who finds no
//! place is refused at once. `system:masters` are never refused.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel},
};

use super::Refused;
use crate::{context::Context, user};

/// Both limits; 0 is none.
#[derive(Debug)]
pub(super) struct MaxInFlight {
    reading: Lane,
    mutating: Lane,
}

#[derive(Debug)]
struct Lane {
    limit: usize,
    taken: Arc<AtomicUsize>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub(crate) struct LaneSeat(Arc<AtomicUsize>);

impl Drop for LaneSeat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, AcqRel);
    }
}

impl MaxInFlight {
    pub(super) fn new(reading: usize, mutating: usize) -> Self {
        let lane = |limit| Lane {
            limit,
            taken: Arc::default(),
        };
        Self {
            reading: lane(reading),
            mutating: lane(mutating),
        }
    }

    /// A place for a request that is not long-running.
    pub(super) fn enter(&self, context: &Context) -> Result<LaneSeat, Refused> {
        let reads = matches!(context.info.verb.as_str(), "get" | "list" | "watch");
        let lane = if reads { &self.reading } else { &self.mutating };
        let seat = LaneSeat(Arc::clone(&lane.taken));
        let before = lane.taken.fetch_add(1, AcqRel);
        let master = context.user.groups.iter().any(|g| g == user::MASTERS);
        if lane.limit == 0 || before < lane.limit || master {
            return Ok(seat);
        }
        Err(Refused {
            retry_after_seconds: 1,
        })
    }
}
