//! One watch of the store feeds all watch caches.
//!
//! A single stream over `/registry/` makes every cache as fresh as the store at each batch, also those of resources that did not change, without a
//! progress request for each: a consistent read asks the store for its revision and waits for the hub to pass it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use apimachinery::Object;
use bytes::Bytes;
use etcd::{Change, KeyRange, KeyValue, Kv, KvError, RangeRequest, Revision, WatchRequest};
use tokio::{
    sync::{Mutex, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Cacher, Ending, Ingest, ROOT};
use crate::storage::Foresee;

/// How many batches may wait in the store's watch for the hub.
const BUFFER: usize = 1024;
/// How many keys are read at a time when the caches are filled.
const PAGE: usize = 10_000;
/// How long a read waits for the caches to reach the store's revision, as upstream.
const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the hub waits before it tries a store again that failed.
const RETRY: Duration = Duration::from_millis(250);
/// How often the caches let old history go.
const AGING: Duration = Duration::from_secs(30);

/// The caches, and their connection to the store.
#[derive(Debug)]
pub struct Hub {
    caches: RwLock<HashMap<Box<str>, Arc<Cacher>>>,
    revision: watch::Sender<Revision>,
    /// Held while caches are filled and while a batch is applied: a cache registered late is filled between two batches.
    applying: Mutex<()>,
    /// The latest answer to "how fresh is the store", shared by reads that ask at the same time.
    asked: Mutex<()>,
    answered: AtomicI64,
    answer_number: AtomicI64,
    ending: Arc<Ending>,
}

/// Why a read could not be made fresh.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// The store did not say.
    #[error(transparent)]
    Kv(#[from] KvError),
    /// The caches did not reach the revision in time.
    #[error("watch cache is at {current}, {wanted} is wanted")]
    Behind {
        /// The revision asked for.
        wanted: Revision,
        /// Where the caches are.
        current: Revision,
    },
}

impl Default for Hub {
    fn default() -> Self {
        Self::new()
    }
}

impl Hub {
    /// Without caches, at revision 0.
    pub fn new() -> Self {
        Self {
            caches: RwLock::default(),
            revision: watch::Sender::new(Revision(0)),
            applying: Mutex::default(),
            asked: Mutex::default(),
            answered: AtomicI64::new(0),
            answer_number: AtomicI64::new(0),
            ending: Arc::default(),
        }
    }

    /// The server stops: watches of clients end, spread over so long.
    pub fn end_watches(&self, spread: Duration) {
        self.ending.begin(spread);
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.values().for_each(|cacher| cacher.wake_watchers());
    }

    fn new_cacher(&self, prefix: &str, ingest: Ingest) -> Arc<Cacher> {
        let revision = self.revision.subscribe();
        Arc::new(Cacher::new(
            prefix,
            ingest,
            revision,
            Arc::clone(&self.ending),
        ))
    }

    /// Adds a cache for what is stored below `prefix` (`pods`, `services/specs`), which [`Hub::run`] fills when it starts; for resources that are there
    /// from the beginning. Two resources with one prefix share a cache.
    pub fn add(&self, prefix: &str, ingest: Ingest) -> Arc<Cacher> {
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(cacher) = caches.get(prefix) {
            ingest.strategy.iter().for_each(|s| cacher.add_strategy(s));
            return Arc::clone(cacher);
        }
        let cacher = self.new_cacher(prefix, ingest);
        caches.insert(prefix.into(), Arc::clone(&cacher));
        cacher
    }

    /// Adds a cache while the hub runs and fills it before it returns; for resources that come later. One that is there with this
    /// prefix is replaced, and ends: its watchers have to start anew.
    pub async fn replace_late(
        &self,
        kv: &dyn Kv,
        prefix: &str,
        ingest: Ingest,
    ) -> Result<Arc<Cacher>, KvError> {
        let _between_batches = self.applying.lock().await;
        let cacher = self.new_cacher(prefix, ingest);
        let revision = self.revision();
        let values = range_all(kv, KeyRange::prefix(cacher.prefix().clone()), revision).await?;
        cacher.load(&values, revision);
        let replaced = {
            let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
            caches.insert(prefix.into(), Arc::clone(&cacher))
        };
        if let Some(replaced) = replaced {
            replaced.end();
        }
        Ok(cacher)
    }

    /// Drops a cache; its watchers end when they have seen all of it.
    pub fn remove(&self, prefix: &str) {
        let removed = {
            let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
            caches.remove(prefix)
        };
        if let Some(removed) = removed {
            removed.end();
        }
    }

    /// All caches have applied everything up to this revision.
    pub fn revision(&self) -> Revision {
        *self.revision.borrow()
    }

    /// Follows [`Hub::revision`].
    pub fn subscribe(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    /// Whether the caches have been filled once.
    pub fn is_synced(&self) -> bool {
        self.revision() > Revision(0)
    }

    /// Waits until the caches hold everything up to `revision`.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), HubError> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut current = self.revision.subscribe();
        let reached = current.wait_for(|current| *current >= revision);
        match tokio::time::timeout(FRESHNESS_TIMEOUT, reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(HubError::Behind {
                wanted: revision,
                current: self.revision(),
            }),
        }
    }

    /// Waits until the caches are at least as fresh as the store was when this was called. Calls at the same time share one question
    /// to the store: a caller may use an answer only if it was asked for after the call began.
    pub async fn wait_fresh(&self, kv: &dyn Kv) -> Result<(), HubError> {
        let began = self.answer_number.load(Ordering::SeqCst);
        let revision = {
            let _asking = self.asked.lock().await;
            // Two answers after we began, the second was asked for after we began.
            if self.answer_number.load(Ordering::SeqCst) >= began + 2 {
                Revision(self.answered.load(Ordering::SeqCst))
            } else {
                let revision = kv.revision().await?;
                self.answered.store(revision.0, Ordering::SeqCst);
                self.answer_number.fetch_add(1, Ordering::SeqCst);
                revision
            }
        };
        self.wait_for(revision).await
    }

    /// Fills the caches and keeps them up until cancelled. When the store fails or its history is lost, the caches are filled anew.
    pub async fn run(&self, kv: Arc<dyn Kv>, cancel: CancellationToken) {
        let following = async {
            loop {
                if let Err(error) = self.follow(kv.as_ref()).await {
                    tracing::warn!(%error, "the store's watch ended; filling the caches anew");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        let aging = async {
            loop {
                tokio::time::sleep(AGING).await;
                self.age();
            }
        };
        let both = async { tokio::join!(following, aging) };
        let _: Option<((), ())> = cancel.run_until_cancelled(both).await;
    }

    fn age(&self) {
        let now = Instant::now();
        for cacher in self.all() {
            cacher.age(now);
        }
    }

    fn all(&self) -> Vec<Arc<Cacher>> {
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        caches.values().cloned().collect()
    }

    async fn follow(&self, kv: &dyn Kv) -> Result<(), KvError> {
        let revision = self.fill(kv).await?;
        let mut stream = kv
            .watch(WatchRequest {
                range: KeyRange::prefix(ROOT),
                start: Some(Revision(revision.0 + 1)),
                buffer: BUFFER,
            })
            .await?;
        while let Some(batch) = stream.recv().await {
            let batch = batch?;
            let _applying = self.applying.lock().await;
            self.apply(&batch.changes);
            self.revision.send_if_modified(|revision| {
                let moved = batch.revision > *revision;
                *revision = batch.revision.max(*revision);
                moved
            });
        }
        Err(KvError::Unavailable("the watch was closed".to_owned()))
    }

    /// Reads everything at one revision into the caches.
    async fn fill(&self, kv: &dyn Kv) -> Result<Revision, KvError> {
        let _applying = self.applying.lock().await;
        let revision = kv.revision().await?;
        let values = range_all(kv, KeyRange::prefix(ROOT), revision).await?;
        for cacher in self.all() {
            // The values are in key order: those of a resource stand together.
            let start = values.partition_point(|value| value.key < *cacher.prefix());
            let length =
                values[start..].partition_point(|value| value.key.starts_with(cacher.prefix()));
            cacher.load(&values[start..start + length], revision);
        }
        self.revision.send_replace(revision);
        Ok(revision)
    }

    fn apply(&self, changes: &[Change]) {
        // A batch may hold changes of many resources; each resource takes its own in one step.
        let mut by_prefix: BTreeMap<Bytes, (Arc<Cacher>, Vec<&Change>)> = BTreeMap::new();
        for change in changes {
            let Some(cacher) = self.cache_of(&change.key) else {
                continue;
            };
            let prefix = cacher.prefix().clone();
            by_prefix
                .entry(prefix)
                .or_insert_with(|| (cacher, Vec::new()))
                .1
                .push(change);
        }
        for (cacher, changes) in by_prefix.values() {
            cacher.apply(changes);
        }
    }

    /// The cache that a key belongs to: its first segment says, or its first two.
    fn cache_of(&self, key: &[u8]) -> Option<Arc<Cacher>> {
        let path = std::str::from_utf8(key).ok()?.strip_prefix(ROOT)?;
        let (first, rest) = path.split_once('/')?;
        let caches = self.caches.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(cacher) = caches.get(first) {
            return Some(Arc::clone(cacher));
        }
        let (second, _) = rest.split_once('/')?;
        caches.get(&path[..first.len() + 1 + second.len()]).cloned()
    }
}

impl Foresee for Hub {
    fn foresee(&self, key: &Bytes, object: &Object, value: &Bytes) {
        if let Some(cacher) = self.cache_of(key) {
            cacher.foresee(object, value);
        }
    }
}

/// All of a range at one revision, read in pages.
async fn range_all(
    kv: &dyn Kv,
    range: KeyRange,
    revision: Revision,
) -> Result<Vec<KeyValue>, KvError> {
    let mut values: Vec<KeyValue> = Vec::new();
    let mut request = RangeRequest::new(range);
    request.revision = Some(revision);
    request.limit = PAGE;
    loop {
        let page = kv.range(request.clone()).await?;
        values.extend(page.kvs);
        match values.last() {
            Some(last) if page.more => {
                let mut next = last.key.to_vec();
                next.push(0);
                request.range.start = next.into();
            }
            _ => return Ok(values),
        }
    }
}
