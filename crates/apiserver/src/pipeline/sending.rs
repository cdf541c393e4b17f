//! A body that is made while it is sent: a list, a watch. What the request holds (its seats, its place among those under way, its
//! audit record) it holds until the body has been sent.
//!
//! A client that reads slowly, or not at all, must not hold a list's snapshot for ever, and a connection does not ask for the next chunk before it has room
//! for it. So the chunks are taken away from outside when the request's time is over; the connection then finds the body broken off.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use base::TaskGroup;
use futures_util::Stream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::body::{Body, BodyError, Chunk, Chunks};

/// A body together with what is let go when it ends. `time_left` none lets it last as long as it likes.
pub(super) fn hold<G: Send + 'static>(
    body: Body,
    guard: G,
    time_left: Option<Duration>,
    tasks: &TaskGroup,
) -> Body {
    let chunks = match body.into_chunks() {
        Ok(chunks) => chunks,
        // All there: the connection sends it without us.
        Err(body) => return body,
    };
    let Some(time_left) = time_left else {
        let open = Some((chunks, guard));
        return Body::stream(Lasting { open });
    };
    let state = Arc::new(Mutex::new(State::Open(chunks, guard)));
    let ended = CancellationToken::new();
    let (watched, cancelled) = (Arc::clone(&state), ended.clone());
    tasks.spawn_cancellable("response-deadline", async move {
        let sleeping = tokio::time::sleep(time_left);
        if cancelled.run_until_cancelled(sleeping).await.is_some() {
            tracing::debug!("a response was not taken in time");
            set(&watched, State::Overdue);
        }
    });
    Body::stream(Sending {
        state,
        _ended: ended.drop_guard(),
    })
}

/// A body that lasts as long as it likes, a watch: nobody else has a hand on it.
struct Lasting<G> {
    /// None once all has been sent.
    open: Option<(Chunks, G)>,
}

/// The guard is never polled.
impl<G> Unpin for Lasting<G> {}

impl<G> Stream for Lasting<G> {
    type Item = Result<Chunk, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some((chunks, _)) = &mut this.open else {
            return Poll::Ready(None);
        };
        let next = chunks.as_mut().poll_next(cx);
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            this.open = None;
        }
        next
    }
}

enum State<G> {
    Open(Chunks, G),
    /// All has been sent.
    Ended,
    /// The time was over before.
    Overdue,
}

/// Puts a state in the place of another, which is dropped outside the lock.
fn set<G>(state: &Mutex<State<G>>, next: State<G>) {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let last = std::mem::replace(&mut *state, next);
    drop(state);
    drop(last);
}

struct Sending<G> {
    state: Arc<Mutex<State<G>>>,
    _ended: DropGuard,
}

impl<G> Stream for Sending<G> {
    type Item = Result<Chunk, BodyError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *state {
                State::Open(chunks, _) => chunks.as_mut().poll_next(cx),
                State::Ended => return Poll::Ready(None),
                State::Overdue => {
                    let error = BodyError::from("the response was not taken in time");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        };
        if matches!(next, Poll::Ready(None | Some(Err(_)))) {
            set(&self.state, State::Ended);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::StreamExt as _;

    use super::*;

    fn numbers(guard: Arc<()>, time_left: Option<Duration>, tasks: &TaskGroup) -> Chunks {
        let chunks = futures_util::stream::iter([1u8, 2]).map(|n| Ok(Bytes::from(vec![n])));
        hold(Body::stream(chunks), guard, time_left, tasks)
            .into_chunks()
            .unwrap()
    }

    #[tokio::test]
    async fn what_is_held_is_let_go_with_the_last_chunk() {
        let tasks = TaskGroup::default();
        let guard = Arc::new(());
        let mut chunks = numbers(Arc::clone(&guard), None, &tasks);
        assert_eq!(
            chunks.next().await.unwrap().unwrap().into_bytes(),
            [1u8][..]
        );
        assert_eq!(Arc::strong_count(&guard), 2);
        assert_eq!(
            chunks.next().await.unwrap().unwrap().into_bytes(),
            [2u8][..]
        );
        assert!(chunks.next().await.is_none());
        assert_eq!(Arc::strong_count(&guard), 1);
        assert!(chunks.next().await.is_none());
        tasks.shutdown().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_never_reads_holds_nothing_beyond_its_time() {
        let tasks = TaskGroup::default();
        let guard = Arc::new(());
        let mut chunks = numbers(Arc::clone(&guard), Some(Duration::from_secs(60)), &tasks);
        assert!(chunks.next().await.unwrap().is_ok());
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(Arc::strong_count(&guard), 1);
        assert!(chunks.next().await.unwrap().is_err());
        tasks.shutdown().await;
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_body_that_was_given_up() {
        let tasks = TaskGroup::default();
        let guard = Arc::new(());
        drop(numbers(
            Arc::clone(&guard),
            Some(Duration::from_secs(60)),
            &tasks,
        ));
        // The deadline's task ends at once, and with it the last that held the guard.
        let let_go = async {
            while Arc::strong_count(&guard) > 1 {
                tokio::task::yield_now().await;
            }
        };
        let start = tokio::time::Instant::now();
        let_go.await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        tasks.shutdown().await;
    }
}
