//! How many requests run at once: seats for reading and for changing requests, as upstream's `--max-requests-inflight` and
//! `--max-mutating-requests-inflight`. Who finds none waits a while in a queue whose length is bounded, then hears 429.
//!
//! Watches and streams take no seat (upstream gives theirs back once they stand), nor does the server's own group.

use std::{
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use apimachinery::status::Status;
use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::Stage;
use crate::{
    context::{Context, FlowIds},
    user,
};

/// How many may wait for a seat, for each seat.
const WAITING_PER_SEAT: usize = 16;
/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(15);

/// The seats.
#[derive(Debug)]
pub struct FlowControl {
    reading: Lane,
    mutating: Lane,
    ids: FlowIds,
    exempt_ids: FlowIds,
}

#[derive(Debug)]
struct Lane {
    seats: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_limit: usize,
}

/// The stage at which a request comes to belong to a flow. Streams belong to none; watches do, until they stand.
pub(super) struct Classification(pub(super) Arc<FlowControl>);

#[async_trait]
impl Stage for Classification {
    async fn enter(&self, context: &mut Context) -> Result<(), Status> {
        if context.info.verb == "watch" || !context.info.is_long_running() {
            context.flow = Some(self.0.classify(context));
        }
        Ok(())
    }
}

/// A seat taken; dropped with the request.
#[derive(Debug)]
pub(super) struct Seat(
    #[expect(dead_code, reason = "held for its drop")] Option<OwnedSemaphorePermit>,
);

impl FlowControl {
    /// With so many seats.
    pub fn new(max_in_flight: usize, max_mutating_in_flight: usize) -> Self {
        let ids = || FlowIds {
            flow_schema: Uuid::new_v4().to_string(),
            priority_level: Uuid::new_v4().to_string(),
        };
        Self {
            reading: Lane::new(max_in_flight),
            mutating: Lane::new(max_mutating_in_flight),
            ids: ids(),
            exempt_ids: ids(),
        }
    }

    /// Which flow a request belongs to.
    fn classify(&self, context: &Context) -> FlowIds {
        if is_exempt(context) {
            self.exempt_ids.clone()
        } else {
            self.ids.clone()
        }
    }

    pub(super) async fn enter(&self, context: &Context) -> Result<Seat, Status> {
        if is_exempt(context) || context.info.is_long_running() {
            return Ok(Seat(None));
        }
        let mutating = !matches!(
            context.info.verb.as_str(),
            "get" | "list" | "watch" | "head"
        );
        let lane = if mutating {
            &self.mutating
        } else {
            &self.reading
        };
        lane.enter().await
    }
}

fn is_exempt(context: &Context) -> bool {
    context
        .user
        .groups
        .iter()
        .any(|group| group == user::MASTERS)
        || matches!(
            context.info.path.as_str(),
            "/healthz" | "/livez" | "/readyz"
        )
}

impl Lane {
    fn new(seats: usize) -> Self {
        Self {
            seats: Arc::new(Semaphore::new(seats)),
            waiting: AtomicUsize::new(0),
            waiting_limit: seats.saturating_mul(WAITING_PER_SEAT),
        }
    }

    async fn enter(&self) -> Result<Seat, Status> {
        if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
            return Ok(Seat(Some(seat)));
        }
        let waiting = Waiting::new(&self.waiting);
        if waiting.before >= self.waiting_limit {
            return Err(Status::overloaded(1));
        }
        match tokio::time::timeout(PATIENCE, Arc::clone(&self.seats).acquire_owned()).await {
            Ok(Ok(seat)) => Ok(Seat(Some(seat))),
            _ => Err(Status::overloaded(1)),
        }
    }
}

/// Counts one who waits, also when the request is dropped meanwhile.
struct Waiting<'a> {
    counter: &'a AtomicUsize,
    before: usize,
}

impl<'a> Waiting<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        Self {
            counter,
            before: counter.fetch_add(1, Ordering::Relaxed),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}
