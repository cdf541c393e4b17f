//! Requests with large bodies, kept out of others' way.
//!
//! Three megabytes of containers or of patch operations are decoded, checked and written for tens or hundreds of milliseconds in which nothing is
//! waited for, so that a few of them would hold every worker of the runtime and all other requests behind them. Go takes such a goroutine's
//! processor away after ten milliseconds; here the thread is given up instead: the worker goes on elsewhere, and the system shares the cores. Large
//! requests have turns, for the processor only: one that waits, for a webhook or the store, lets the next one go on.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
};

use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::Semaphore,
};
use tokio_util::sync::PollSemaphore;

use crate::context::Context;

/// From here on a body is large. Hardly any object of a cluster comes near.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// What answers a request.
type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The turns of requests with large bodies.
pub(super) struct Large {
    turns: Arc<Semaphore>,
}

impl Large {
    /// Half of the cores at once, and one at least.
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self::with_turns((cores / 2).max(1))
    }

    fn with_turns(turns: usize) -> Self {
        Self {
            turns: Arc::new(Semaphore::new(turns)),
        }
    }

    /// Answers, in turns once the body has turned out to be large.
    pub(super) async fn run<T>(&self, context: &Context, mut answering: Answering<'_, T>) -> T {
        let mut turns = None;
        poll_fn(|cx| {
            if !is_large(context) || !may_block() {
                return answering.as_mut().poll(cx);
            }
            let turns = turns.get_or_insert_with(|| PollSemaphore::new(Arc::clone(&self.turns)));
            let turn = ready!(turns.poll_acquire(cx));
            let polled: Poll<T> = tokio::task::block_in_place(|| answering.as_mut().poll(cx));
            drop(turn);
            polled
        })
        .await
    }
}

fn is_large(context: &Context) -> bool {
    context
        .body_bytes()
        .is_some_and(|bytes| bytes >= LARGE_BYTES)
}

/// A runtime of one thread has nobody to go on elsewhere.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    };

    use tokio::task::JoinSet;

    use super::*;

    fn with_body(bytes: usize) -> Context {
        let context = Context::default();
        context.note_body_bytes(bytes);
        context
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_are_served_while_a_large_one_keeps_its_thread() {
        let (other, served) = mpsc::channel();
        let mut requests = JoinSet::new();
        requests.spawn(async move {
            let context = with_body(LARGE_BYTES);
            let answering = async move { served.recv().unwrap() };
            let large = Large::with_turns(1);
            large.run(&context, Box::pin(answering)).await
        });
        // On the only worker.
        requests.spawn(async move {
            let context = with_body(10);
            let answering = async move {
                other.send("served").unwrap();
                "small"
            };
            let large = Large::with_turns(1);
            large.run(&context, Box::pin(answering)).await
        });
        let mut answers = requests.join_all().await;
        answers.sort_unstable();
        assert_eq!(answers, ["served", "small"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn large_ones_have_turns_and_give_them_up_to_wait() {
        let large = Arc::new(Large::with_turns(1));
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let barrier = Arc::new(tokio::sync::Barrier::new(8));
        let mut requests = JoinSet::new();
        for _ in 0..8 {
            let (large, barrier) = (Arc::clone(&large), Arc::clone(&barrier));
            let (at_once, most) = (Arc::clone(&at_once), Arc::clone(&most));
            requests.spawn(async move {
                let answering = async {
                    let work = || {
                        most.fetch_max(at_once.fetch_add(1, SeqCst) + 1, SeqCst);
                        std::hint::black_box((0..10_000).sum::<u64>());
                        at_once.fetch_sub(1, SeqCst);
                    };
                    work();
                    // Nobody gets past this who keeps the turn while waiting.
                    barrier.wait().await;
                    work();
                };
                let context = with_body(LARGE_BYTES);
                large.run(&context, Box::pin(answering)).await;
            });
        }
        requests.join_all().await;
        assert_eq!(most.load(SeqCst), 1);
    }
}
