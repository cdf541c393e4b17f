//! Watches. A watcher is a cursor into the history: its task reads from the cursor up to what is durable, sends, and sleeps until
//! there is more. There is no second path for watchers that are behind: a slow one simply reads later, and holds nothing in memory
//! but its bounded channel.
//!
//! Who is woken when: watchers of a changed key at once; the others, which are owed but a progress notice, together, at most once
//! every [`PROGRESS_INTERVAL`], so that a burst of writes does not wake every watcher for every write.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::shared::Shared;
use crate::{KeyRange, KvError, Revision, WatchBatch, WatchRequest, WatchStream};

/// How far progress notices may lag behind writes to other keys.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(5);
/// Changes read from the history under one lock.
const PAGE: usize = 256;

#[derive(Debug)]
struct Watcher {
    range: KeyRange,
    wake: Notify,
}

/// All watchers.
#[derive(Debug, Default)]
pub(super) struct Hub {
    watchers: Mutex<Vec<Weak<Watcher>>>,
    progress: Notify,
    behind: AtomicBool,
}

impl Hub {
    /// These keys have changed, durably.
    pub(super) fn publish(&self, changed: &[Bytes]) {
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain(|watcher| {
            let Some(watcher) = watcher.upgrade() else {
                return false;
            };
            if changed.iter().any(|key| watcher.range.contains(key)) {
                watcher.wake.notify_one();
            }
            true
        });
        if !watchers.is_empty() && !self.behind.swap(true, Ordering::AcqRel) {
            self.progress.notify_one();
        }
    }

    /// Wakes the watchers that are owed a progress notice. Ends by being dropped.
    pub(super) async fn run_progress(&self) {
        loop {
            self.progress.notified().await;
            self.behind.store(false, Ordering::Release);
            {
                let watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
                for watcher in watchers.iter().filter_map(Weak::upgrade) {
                    watcher.wake.notify_one();
                }
            }
            // Paces wake-ups; nothing that anyone can observe depends on which clock this is.
            tokio::time::sleep(PROGRESS_INTERVAL).await;
        }
    }

    fn join(&self, range: KeyRange) -> Arc<Watcher> {
        let watcher = Arc::new(Watcher {
            range,
            wake: Notify::new(),
        });
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.push(Arc::downgrade(&watcher));
        watcher
    }
}

/// Opens a watch.
pub(super) fn watch(shared: &Arc<Shared>, request: WatchRequest) -> Result<WatchStream, KvError> {
    if request.range.start.is_empty() {
        return Err(KvError::Invalid("key is not provided".into()));
    }
    // Joined before the revision is read: a change in between wakes the watcher for nothing, but none is missed.
    let watcher = shared.hub.join(request.range);
    let durable = shared.durable();
    let next = request
        .start
        .filter(|start| start.0 > 0)
        .unwrap_or(Revision(durable.0 + 1));
    let compacted = shared.read().compacted();
    if next < compacted {
        return Err(KvError::Compacted {
            requested: next,
            compacted,
        });
    }
    let (sender, stream) = mpsc::channel(request.buffer.max(1));
    let shared_by_task = shared.clone();
    shared.tasks.spawn_cancellable("watch", async move {
        let shared = shared_by_task;
        tokio::select! {
            end = deliver(&shared, &watcher, next, &sender) => {
                if let Err(error) = end {
                    let _ = sender.send(Err(error)).await;
                }
            }
            () = sender.closed() => {}
        }
    });
    Ok(stream)
}

/// Sends everything from `next` on. Ends when the history has gone.
async fn deliver(
    shared: &Shared,
    watcher: &Watcher,
    mut next: Revision,
    sender: &mpsc::Sender<Result<WatchBatch, KvError>>,
) -> Result<(), KvError> {
    // What has been announced. The first notice says that the watch stands.
    let mut announced = Revision(0);
    loop {
        let durable = shared.durable();
        while next <= durable {
            let page = shared.read().changes(&watcher.range, next, durable, PAGE)?;
            for batch in page.batches {
                announced = batch.revision;
                if sender.send(Ok(batch)).await.is_err() {
                    return Ok(());
                }
            }
            next = page.next;
        }
        if announced < durable {
            announced = durable;
            let progress = WatchBatch {
                revision: durable,
                changes: Vec::new(),
            };
            if sender.send(Ok(progress)).await.is_err() {
                return Ok(());
            }
        }
        watcher.wake.notified().await;
    }
}
