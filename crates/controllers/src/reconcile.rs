//! The loop all controllers share: a queue of keys, workers that reconcile, failures that come back with backoff.

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{ApiError, Event, Informer, Object, Workqueue};
use thiserror::Error;
use tracing::{debug, error, warn};

use crate::context::ControllerContext;

/// Why a reconciliation failed. The key comes back with backoff.
#[derive(Debug, Error)]
pub(crate) enum Error {
    /// The API server refused, or could not be reached.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Something to wait for, or a state that does not hold together.
    #[error("{0}")]
    State(String),
    /// Several things failed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Many(Vec<Error>),
}

impl Error {
    /// One error of many, or none.
    pub(crate) fn aggregate(errors: Vec<Self>) -> Result<(), Self> {
        match errors.len() {
            0 => Ok(()),
            1 => errors.into_iter().next().map_or(Ok(()), Err),
            _ => Err(Self::Many(errors)),
        }
    }

    fn is_conflict(&self) -> bool {
        matches!(self, Self::Api(error) if error.is_conflict())
    }
}

/// When a key that was reconciled without error is looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// When something happens to it.
    OnEvent,
    /// After this long at the latest.
    After(Duration),
}

/// Brings one object closer to what is wanted. Idempotent; does not ask why it was called.
#[async_trait]
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// Names what is reconciled.
    type Key: Clone + Eq + Hash + fmt::Display + Send + Sync + 'static;

    /// Waits until what it reads has been filled once.
    async fn synced(&self);

    /// Reconciles one key.
    async fn reconcile(&self, key: &Self::Key) -> Result<Next, Error>;
}

/// Starts `workers` workers that reconcile the queue's keys once all is synced. They end with the context's tasks.
pub(crate) fn run_workers<R: Reconciler>(
    ctx: &ControllerContext,
    controller: &'static str,
    workers: usize,
    queue: &Workqueue<R::Key>,
    reconciler: Arc<R>,
) {
    for _ in 0..workers.max(1) {
        let (queue, reconciler) = (queue.clone(), reconciler.clone());
        ctx.tasks.spawn_cancellable(controller, async move {
            reconciler.synced().await;
            while let Some(key) = queue.get().await {
                let outcome = reconciler.reconcile(&key).await;
                finish(controller, &queue, &key, outcome);
                queue.done(&key);
            }
        });
    }
}

fn finish<K: Clone + Eq + Hash + fmt::Display>(
    controller: &str,
    queue: &Workqueue<K>,
    key: &K,
    outcome: Result<Next, Error>,
) {
    match outcome {
        Ok(Next::OnEvent) => queue.forget(key),
        Ok(Next::After(delay)) => {
            queue.forget(key);
            queue.add_after(key.clone(), delay);
        }
        Err(error) => {
            // A conflict means that the informer has not seen our own last write yet: routine.
            if error.is_conflict() {
                debug!(controller, %key, %error, "conflict, reconciling again");
            } else {
                warn!(controller, %key, %error, "error syncing, requeuing");
            }
            queue.add_rate_limited(key.clone());
        }
    }
}

/// Calls `handle` with every event of an informer. A [`Event::Resync`] asks to look at the whole store.
pub(crate) fn on_events<T: Object>(
    ctx: &ControllerContext,
    controller: &'static str,
    informer: &Informer<T>,
    mut handle: impl FnMut(Event<T>) + Send + 'static,
) {
    let mut subscription = informer.subscribe();
    ctx.tasks.spawn_cancellable(controller, async move {
        while let Some(event) = subscription.next().await {
            handle(event);
        }
        error!(controller, "an informer ended before its controller");
    });
}

/// Queues the key of every object that changes, and all of them at a resync.
pub(crate) fn queue_changes<T: Object>(
    ctx: &ControllerContext,
    controller: &'static str,
    informer: &Informer<T>,
    queue: &Workqueue<client::ObjectKey>,
) {
    let (queue, store) = (queue.clone(), informer.store().clone());
    on_events(ctx, controller, informer, move |event| {
        match event.object() {
            Some(object) => queue.add(object.key()),
            None => store.keys().into_iter().for_each(|key| queue.add(key)),
        }
    });
}
