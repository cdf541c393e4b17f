//! Letting others have their turn.

use std::{future::poll_fn, task::Poll};

/// Goes to the end of the queue of tasks that are ready, from which any worker may take it.
///
/// `tokio::task::yield_now` puts a task aside instead, until its worker has nothing else to do or has polled dozens of tasks. Where these keep
/// workers busy for milliseconds each, as the kubelet's do, that is a second before one has been set aside a few times.
pub async fn requeue() {
    let mut has_been_back = false;
    poll_fn(|cx| match std::mem::replace(&mut has_been_back, true) {
        true => Poll::Ready(()),
        false => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
