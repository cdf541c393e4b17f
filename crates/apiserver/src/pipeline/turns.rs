//! Work of many milliseconds, kept out of others' way.
//!
//! Three megabytes of containers or of patch operations are decoded, checked and written for tens or hundreds of milliseconds in which nothing is
//! waited for, and so is a list of ten thousand pods made, compressed or drawn up as a table: a few of them would hold every worker of the runtime and all
//! other requests behind them. Go takes such a goroutine's processor away after ten milliseconds; here the work goes to a thread that is no worker,
//! and the system shares the cores. It has turns, for the processor only: a request that waits for a webhook or the store, and a body that waits for its
//! client, let the next one go on.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Poll, ready},
    time::{Duration, Instant},
};

use base::TaskGroup;
use futures_util::Stream;
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
};
use tokio_util::sync::PollSemaphore;

use crate::{
    body::{Body, BodyError, Chunk, Making},
    context::Context,
};

/// From here on a body is large. Hardly any object of a cluster comes near.
pub(crate) const LARGE_BYTES: usize = 64 << 10;

/// A body is made until so much of it is there in a turn, or so long.
const TURN_BYTES: usize = 1 << 20;
const TURN_TIME: Duration = Duration::from_millis(2);

/// What answers a request.
type Answering<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The turns of long work.
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    /// Half of the cores at once, and one at least.
    pub(super) fn new() -> Self {
        Self::with(base::half_of_cores())
    }

    fn with(turns: usize) -> Self {
        Self(Arc::new(Semaphore::new(turns)))
    }

    /// Answers, in turns once it is known to be long work. The thread is given up by the worker, which goes on elsewhere.
    pub(super) async fn run<T>(&self, context: &Context, mut answering: Answering<'_, T>) -> T {
        let mut turns = None;
        poll_fn(|cx| {
            if !context.is_long_work() || !may_block() {
                return answering.as_mut().poll(cx);
            }
            let turns = turns.get_or_insert_with(|| PollSemaphore::new(Arc::clone(&self.0)));
            let turn = ready!(turns.poll_acquire(cx));
            let polled: Poll<T> = tokio::task::block_in_place(|| answering.as_mut().poll(cx));
            drop(turn);
            polled
        })
        .await
    }

    /// Has a body made in turns, if it is one that is made. `tasks` wait for them.
    pub(super) fn make(&self, body: Body, tasks: &TaskGroup) -> Body {
        if !matches!(body, Body::Made(_)) {
            return body;
        }
        match body.into_making() {
            Ok(making) => Body::stream(Made {
                turns: Arc::clone(&self.0),
                tasks: tasks.clone(),
                chunks: VecDeque::new(),
                progress: Progress::New(making),
            }),
            Err(body) => body,
        }
    }
}

/// A body that is made in turns, the first chunk excepted: a short list has no other.
///
/// While the client takes the last chunk of a turn the next turn's are made. One that takes nothing more has those, and keeps nobody from his turn.
struct Made {
    turns: Arc<Semaphore>,
    tasks: TaskGroup,
    /// Chunks that have been made.
    chunks: VecDeque<Chunk>,
    progress: Progress,
}

enum Progress {
    New(Making),
    /// Nobody works.
    Resting(Making),
    /// Waits for its turn or has it.
    Working(oneshot::Receiver<Turn>),
    Ended,
}

/// What has been made in a turn, and what makes the rest.
type Turn = (VecDeque<Chunk>, Option<Making>);

/// Makes chunks until these bounds are reached: each turn wakes two threads, which costs as much as making some of them.
fn turn(mut making: Making, bytes: usize, time: Duration) -> Turn {
    let (start, mut chunks, mut made) = (Instant::now(), VecDeque::new(), 0);
    while let Some(chunk) = making.next() {
        made += chunk.len();
        if !chunk.is_empty() {
            chunks.push_back(chunk);
        }
        if making.size_hint().1 == Some(0) {
            break;
        }
        if made >= bytes || start.elapsed() >= time {
            return (chunks, Some(making));
        }
    }
    (chunks, None)
}

/// Makes a turn's chunks on a thread that is no worker. It ends by itself, with the turn.
fn work(making: Making, permit: OwnedSemaphorePermit, done: oneshot::Sender<Turn>) {
    tokio::task::spawn_blocking(move || {
        let made = turn(making, TURN_BYTES, TURN_TIME);
        drop(permit);
        // The client may have gone.
        let _ = done.send(made);
    });
}

impl Made {
    /// Begins with the next turn, or has a task wait for it: who reads slowly is not asked, and would keep a turn that he was given.
    fn begin(&mut self) {
        let making = match self.progress.take() {
            Progress::Resting(making) => making,
            other => return self.progress = other,
        };
        let (mut done, made) = oneshot::channel();
        self.progress = Progress::Working(made);
        let turns = Arc::clone(&self.turns);
        match Arc::clone(&turns).try_acquire_owned() {
            Ok(permit) => work(making, permit, done),
            Err(_) => self.tasks.spawn_cancellable("turn", async move {
                tokio::select! {
                    biased;
                    () = done.closed() => {}
                    Ok(permit) = turns.acquire_owned() => work(making, permit, done),
                }
            }),
        }
    }

    /// Brings chunks if none are there; none come at the end.
    fn poll_chunks(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), BodyError>> {
        while self.chunks.is_empty() {
            self.begin();
            let (chunks, making) = match self.progress.take() {
                Progress::New(making) => turn(making, 0, Duration::ZERO),
                Progress::Working(mut made) => match Pin::new(&mut made).poll(cx) {
                    // Its making may have panicked, or the server ends.
                    Poll::Ready(made) => made?,
                    Poll::Pending => {
                        self.progress = Progress::Working(made);
                        return Poll::Pending;
                    }
                },
                Progress::Resting(_) | Progress::Ended => break,
            };
            self.chunks = chunks;
            self.progress = making.map_or(Progress::Ended, Progress::Resting);
        }
        Poll::Ready(Ok(()))
    }
}

impl Progress {
    fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Ended)
    }
}

impl Stream for Made {
    type Item = Result<Chunk, BodyError>;

    fn poll_next(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let is_first = matches!(this.progress, Progress::New(_));
        if let Err(error) = ready!(this.poll_chunks(cx)) {
            return Poll::Ready(Some(Err(error)));
        }
        let chunk = this.chunks.pop_front();
        if this.chunks.is_empty() && !is_first {
            this.begin();
        }
        Poll::Ready(chunk.map(Ok))
    }
}

/// A runtime of one thread has nobody to go on elsewhere.
fn may_block() -> bool {
    Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread)
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        sync::{
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc,
        },
    };

    use bytes::{Buf as _, Bytes};
    use http_body_util::BodyExt as _;
    use tokio::task::JoinSet;

    use super::*;

    async fn long() -> Context {
        let context = Context::default();
        context.begin_long_work().await;
        context
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn others_are_served_while_a_large_one_keeps_its_thread() {
        let (other, served) = mpsc::channel();
        let mut requests = JoinSet::new();
        requests.spawn(async move {
            let context = long().await;
            let answering = async move { served.recv().unwrap() };
            let turns = Turns::with(1);
            turns.run(&context, Box::pin(answering)).await
        });
        // On the only worker.
        requests.spawn(async move {
            let context = Context::default();
            let answering = async move {
                other.send("served").unwrap();
                "small"
            };
            let turns = Turns::with(1);
            turns.run(&context, Box::pin(answering)).await
        });
        let mut answers = requests.join_all().await;
        answers.sort_unstable();
        assert_eq!(answers, ["served", "small"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn large_ones_have_turns_and_give_them_up_to_wait() {
        let turns = Arc::new(Turns::with(1));
        let (at_once, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let barrier = Arc::new(tokio::sync::Barrier::new(8));
        let mut requests = JoinSet::new();
        for _ in 0..8 {
            let (turns, barrier) = (Arc::clone(&turns), Arc::clone(&barrier));
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
                let context = long().await;
                turns.run(&context, Box::pin(answering)).await;
            });
        }
        requests.join_all().await;
        assert_eq!(most.load(SeqCst), 1);
    }

    /// Makes numbered chunks, and counts those that have been made.
    fn numbered(count: u8, made: &Arc<AtomicUsize>) -> Body {
        let made = Arc::clone(made);
        Body::made((0..count).map(move |number| {
            made.fetch_add(1, SeqCst);
            chunk(number)
        }))
    }

    /// As much as is made in a turn.
    fn chunk(number: u8) -> Bytes {
        Bytes::from(vec![number; TURN_BYTES])
    }

    #[tokio::test]
    async fn a_body_that_is_made_is_whole() {
        for count in 0..5 {
            let made = Arc::default();
            let body = Turns::with(1).make(numbered(count, &made), &TaskGroup::default());
            let whole = body.collect().await.unwrap().to_bytes();
            assert_eq!(whole, (0..count).map(chunk).collect::<Vec<_>>().concat());
            assert_eq!(made.load(SeqCst), usize::from(count));
        }
    }

    #[tokio::test]
    async fn work_that_has_nothing_to_show_yet_is_gone_on_with() {
        let chunks = [Bytes::new(), Bytes::new(), chunk(1), Bytes::new(), chunk(2)];
        let made = Body::made(chunks.into_iter());
        let mut body = Turns::with(1).make(made, &TaskGroup::default());
        assert_eq!(taken(&mut body).await.unwrap(), 1);
        assert_eq!(taken(&mut body).await.unwrap(), 2);
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn all_but_the_first_chunk_wait_for_a_turn() {
        let turns = Turns::with(1);
        let others = Arc::clone(&turns.0).acquire_owned().await.unwrap();
        let made = Arc::default();
        let mut body = turns.make(numbered(3, &made), &TaskGroup::default());
        assert_eq!(taken(&mut body).await.unwrap(), 0);
        let mut next = pin!(taken(&mut body));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        assert_eq!(made.load(SeqCst), 1);
        drop(others);
        assert_eq!(next.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_not_made() {
        let turns = Turns::with(1);
        let made = Arc::default();
        let mut body = turns.make(numbered(100, &made), &TaskGroup::default());
        assert_eq!(taken(&mut body).await.unwrap(), 0);
        assert_eq!(taken(&mut body).await.unwrap(), 1);
        // It has been made for when it is asked for, and gives its turn back.
        let turn = turns.0.acquire().await.unwrap();
        assert_eq!(made.load(SeqCst), 3);
        drop((turn, body));
        assert_eq!(made.load(SeqCst), 3);
    }

    #[tokio::test]
    async fn who_stops_reading_keeps_nobody_from_his_turn() {
        let (turns, tasks) = (Turns::with(1), TaskGroup::default());
        let made = Arc::default();
        let mut slow = turns.make(numbered(9, &made), &tasks);
        assert_eq!(taken(&mut slow).await.unwrap(), 0);
        let others = turns.0.acquire().await.unwrap();
        let mut next = pin!(taken(&mut slow));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        // From here on it is not asked any more.
        let made = Arc::default();
        let body = turns.make(numbered(3, &made), &tasks);
        let (all, ()) = tokio::join!(body.collect(), async { drop(others) });
        assert_eq!(all.unwrap().to_bytes().len(), 3 * TURN_BYTES);
        assert_eq!(next.await.unwrap(), 1);
    }

    #[tokio::test]
    async fn who_is_gone_waits_for_no_turn() {
        let (turns, tasks) = (Turns::with(1), TaskGroup::default());
        let others = turns.0.acquire().await.unwrap();
        let made = Arc::default();
        let mut body = turns.make(numbered(9, &made), &tasks);
        assert_eq!(taken(&mut body).await.unwrap(), 0);
        assert!(futures_util::poll!(pin!(taken(&mut body))).is_pending());
        drop(body);
        drop(others);
        tokio::task::yield_now().await;
        drop(turns.0.acquire().await.unwrap());
        assert_eq!(made.load(SeqCst), 1);
    }

    #[tokio::test]
    async fn a_body_breaks_off_where_its_making_fails() {
        let making = (0..3u8).map(|number| match number {
            2 => panic!("on purpose"),
            number => chunk(number),
        });
        let mut body = Turns::with(1).make(Body::made(making), &TaskGroup::default());
        assert_eq!(taken(&mut body).await.unwrap(), 0);
        assert_eq!(taken(&mut body).await.unwrap(), 1);
        taken(&mut body).await.unwrap_err();
        assert!(body.frame().await.is_none());
    }

    /// The number of the next chunk.
    async fn taken(body: &mut Body) -> Result<u8, BodyError> {
        let frame = body.frame().await.unwrap();
        frame.map(|frame| frame.into_data().unwrap().get_u8())
    }
}
