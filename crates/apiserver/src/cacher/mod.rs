//! The watch cache: one [`Cacher`] a resource, all fed by one watch of the store (the [`Hub`]).
//!
//! Invariants:
//! - A cacher applies the changes of a batch in one step, so that what is read under its lock is the resource as of one revision.
//! - The hub's revision moves after all cachers have applied a batch: whoever has seen it at R finds every change up to R.
//! - Objects are immutable and shared; the ordered map is persistent, so a list holds a snapshot at the price of a pointer.
//! - Past revisions are made from the current map by undoing the ring's events; nothing is kept for them.
//!
//! Follows `k8s.io/apiserver/pkg/storage/cacher` in what clients see (freshness, 410, bookmarks), not in how.

mod ending;
mod foreseen;
mod hub;
mod object;
mod objects;
mod predicate;
mod remaining;
mod ring;
mod signature;
mod stats;
mod wakers;
mod watcher;

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use api::StrategyRef;
use apimachinery::Object;
use arc_swap::ArcSwap;
use bytes::Bytes;
use etcd::{Change, KeyValue, Revision};
use tokio::{sync::watch, time::Instant};

pub use hub::{Hub, HubError};
pub use object::{CachedObject, Coerce, EventType, Ingest, JSON_SUFFIX, MalformedObject};
pub use predicate::Predicate;
pub use ring::Event;
pub(crate) use ring::MAX_EVENTS as RING_CAPACITY;
pub use stats::Stats;
pub use watcher::{Step, Watcher, WatcherOptions};

use ending::Ending;
use foreseen::Foreseen;
use object::Index;
use objects::Objects;
use remaining::Remaining;
use ring::Ring;
use wakers::Wakers;

/// The root of all keys of objects.
pub const ROOT: &str = "/registry/";

/// The fewest values for which it pays to start a thread.
const SHARE: usize = 1024;

/// The watch cache of one resource.
#[derive(Debug)]
pub struct Cacher {
    prefix: Bytes,
    index: ArcSwap<Index>,
    coerce: Option<Arc<dyn Coerce>>,
    foreseen: Foreseen,
    state: RwLock<State>,
    wakers: Wakers,
    remaining: Remaining,
    hub_revision: watch::Receiver<Revision>,
    stats: Stats,
    /// Nothing more will come.
    ended: AtomicBool,
    ending: Arc<Ending>,
}

#[derive(Debug)]
struct State {
    objects: Objects,
    ring: Ring,
    /// Of the last change applied, or of the load.
    revision: Revision,
    loaded: bool,
}

/// A resource as of one revision.
#[derive(Clone, Debug)]
pub struct Snapshot {
    objects: Objects,
    /// Everything up to this revision is in, and nothing after it.
    pub revision: Revision,
}

impl Cacher {
    fn new(
        prefix: &str,
        ingest: Ingest,
        hub_revision: watch::Receiver<Revision>,
        ending: Arc<Ending>,
    ) -> Self {
        let prefix = Bytes::from(format!("{ROOT}{prefix}/"));
        let field = ingest.strategy.as_ref().and_then(|s| s.indexed_field());
        Self {
            prefix,
            index: ArcSwap::from_pointee(Index::new(&ingest.strategy)),
            coerce: ingest.coerce,
            foreseen: Foreseen::default(),
            state: RwLock::new(State {
                objects: Objects::new(field),
                ring: Ring::new(Revision(0)),
                revision: Revision(0),
                loaded: false,
            }),
            wakers: Wakers::default(),
            remaining: Remaining::default(),
            hub_revision,
            stats: Stats::default(),
            ended: AtomicBool::new(false),
            ending,
        }
    }

    /// Nothing more will come: the resource is gone, or another cache took over.
    fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake_watchers();
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Lets all watchers look around, though nothing has happened.
    fn wake_watchers(&self) {
        let sequence = self.read().ring.next_sequence();
        self.wakers.wake_all(sequence);
    }

    /// Another version of the resource is kept here, too. Objects that come in from now on can be selected by its fields.
    fn add_strategy(&self, strategy: &StrategyRef) {
        if let Some(index) = self.index.load().with(strategy) {
            self.index.store(Arc::new(index));
        }
    }

    /// What its keys in the store begin with.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The store's key of an object.
    pub fn key(&self, namespace: &str, name: &str) -> Bytes {
        let mut key = Vec::with_capacity(self.prefix.len() + namespace.len() + name.len() + 1);
        key.extend_from_slice(&self.prefix);
        if !namespace.is_empty() {
            key.extend_from_slice(namespace.as_bytes());
            key.push(b'/');
        }
        key.extend_from_slice(name.as_bytes());
        key.into()
    }

    /// What it counts of itself.
    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Whether it has been filled.
    pub fn is_loaded(&self) -> bool {
        self.read().loaded
    }

    /// The current version of an object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<CachedObject>> {
        let key = suffix(namespace, name);
        let state = self.read();
        state.objects.get(key.as_bytes()).cloned()
    }

    /// The resource now.
    pub fn snapshot(&self) -> Snapshot {
        let hub = *self.hub_revision.borrow();
        let state = self.read();
        Snapshot {
            objects: state.objects.clone(),
            revision: hub.max(state.revision),
        }
    }

    /// The resource as it was at `revision`; `None` if its history does not reach back so far.
    pub fn snapshot_at(&self, revision: Revision) -> Option<Snapshot> {
        let state = self.read();
        if revision < state.ring.complete_after() {
            return None;
        }
        let mut objects = state.objects.clone();
        for event in state.ring.backwards_to(revision) {
            match &event.old {
                Some(old) => objects.insert(Arc::clone(old)),
                None => objects.remove(&event.new.key),
            };
        }
        Some(Snapshot { objects, revision })
    }

    /// How many objects of a namespace (empty: all) follow a page of a list: one of `length` objects, from after the key `after` to the key `last`.
    pub fn count_remaining(
        &self,
        snapshot: &Snapshot,
        namespace: &str,
        after: Option<&[u8]>,
        length: usize,
        last: &Bytes,
    ) -> usize {
        self.remaining
            .count(snapshot, namespace, after, length, last)
    }

    /// Tells of each change of the resource.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.wakers.subscribe(&Predicate::default())
    }

    /// A number that moves with each change of the resource.
    pub fn sequence(&self) -> u64 {
        self.wakers.sequence()
    }

    /// The oldest revision that a watch can start after.
    pub fn oldest(&self) -> Revision {
        self.read().ring.complete_after()
    }

    /// Takes in a version that was read from the store in another way than by the hub, such as at a past revision.
    pub fn ingest(&self, value: &KeyValue) -> Result<CachedObject, MalformedObject> {
        let key = value.key.slice(self.prefix.len().min(value.key.len())..);
        let foreseen = self.foreseen.take(&value.value);
        let (index, coerce) = (self.index.load(), self.coerce.as_deref());
        CachedObject::ingest(key, value, &index, coerce, foreseen)
    }

    /// The object is about to be written as `value`.
    fn foresee(&self, object: &Object, value: &Bytes) {
        if self.coerce.is_none() && Foreseen::takes(value) {
            let indexed = self.index.load().of(object);
            self.foreseen.tell(value.clone(), indexed);
        }
    }

    /// Past objects of the resource as a snapshot of their own; what is no object is left out.
    pub fn snapshot_of(&self, values: &[KeyValue], revision: Revision) -> Snapshot {
        let objects = self.read().objects.with(self.objects_of(values));
        Snapshot { objects, revision }
    }

    /// Many values are read by as many threads as there are processors: this is most of what a start with a full store takes.
    fn objects_of(&self, values: &[KeyValue]) -> Vec<Arc<CachedObject>> {
        let read = |values: &[KeyValue]| -> Vec<_> {
            let ingested = values.iter().filter_map(|value| {
                self.ingest(value)
                    .inspect_err(|error| tracing::error!(%error, "left out of the watch cache"))
                    .ok()
            });
            ingested.map(Arc::new).collect()
        };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let share = values.len().div_ceil(processors).max(SHARE);
        if values.len() <= share {
            return read(values);
        }
        std::thread::scope(|scope| {
            let readers: Vec<_> = values
                .chunks(share)
                .map(|values| scope.spawn(move || read(values)))
                .collect();
            let objects = readers
                .into_iter()
                .flat_map(|reader| reader.join().expect("reading a value does not panic"));
            objects.collect()
        })
    }

    /// Fills the cache anew with the state at `revision`. Watchers that follow the old history end with 410.
    fn load(&self, values: &[KeyValue], revision: Revision) {
        let objects = self.snapshot_of(values, revision).objects;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.objects = objects;
        state.revision = revision;
        state.ring.reset(revision);
        state.loaded = true;
        let sequence = state.ring.next_sequence();
        drop(state);
        self.stats.loads.add(1);
        self.stats.store_lists.add(1);
        self.stats.store_objects.add(values.len());
        self.wakers.wake_all(sequence);
    }

    /// Applies changes, which ascend in revision.
    fn apply(&self, changes: &[&Change]) {
        // Decoding is done before the lock is taken: readers wait for map operations alone.
        let ingested: Vec<_> = changes
            .iter()
            .map(|change| (*change, self.ingest_change(change)))
            .collect();
        let mut events = Vec::with_capacity(ingested.len());
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        for (change, new) in ingested {
            // A cache that was filled late has these already.
            if change.revision <= state.ring.complete_after() && state.loaded {
                continue;
            }
            let key = change.key.slice(self.prefix.len()..);
            events.extend(state.change(key, change.revision, new));
        }
        let (sequence, length) = (state.ring.next_sequence(), state.ring.len());
        drop(state);
        self.stats.events.add(events.len());
        self.wakers.wake(&events, sequence, length);
    }

    /// Lets history go that is older than [`ring::MAX_AGE`], whether anything happens or not.
    fn age(&self, now: Instant) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let gone = state.ring.age(now);
        drop(state);
        drop(gone);
        // Those whom nothing has concerned since stand where they stood.
        self.wakers.catch_up();
    }

    /// `None` for deletions, and for values that are no objects: to clients these do not exist.
    fn ingest_change(&self, change: &Change) -> Option<CachedObject> {
        self.ingest(change.new.as_ref()?)
            .inspect_err(|error| tracing::error!(%error, "left out of the watch cache"))
            .ok()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes in one change; `None` if there was nothing and is nothing.
    fn change(
        &mut self,
        key: Bytes,
        revision: Revision,
        new: Option<CachedObject>,
    ) -> Option<Arc<Event>> {
        self.revision = revision;
        let event = match new {
            Some(new) => {
                let new = Arc::new(new);
                let old = self.objects.insert(Arc::clone(&new));
                Event::new(revision, old, new, false)
            }
            None => {
                let old = self.objects.remove(&key)?;
                let tombstone = Arc::new(old.tombstone(revision));
                Event::new(revision, Some(old), tombstone, true)
            }
        };
        let event = Arc::new(event);
        self.ring.push(Arc::clone(&event));
        Some(event)
    }
}

impl Snapshot {
    /// What a predicate selects, in key order, after the key `after` (exclusive) if given.
    pub fn select<'a>(
        &'a self,
        predicate: &'a Predicate,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a Arc<CachedObject>> {
        self.objects
            .candidates(predicate, after)
            .filter(|object| predicate.matches(object))
    }

    /// The objects of a namespace (empty: all) in key order, after the key `after` (exclusive) if given.
    pub fn iter<'a>(
        &'a self,
        namespace: &str,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = &'a Arc<CachedObject>> + use<'a> {
        self.objects.iter(namespace, after)
    }

    /// The first object and the last.
    pub fn ends(&self) -> [Option<&Arc<CachedObject>>; 2] {
        self.objects.ends()
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        self.objects.len()
    }
}

/// The key of an object within its resource.
fn suffix(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

#[cfg(test)]
mod tests;
