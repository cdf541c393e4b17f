//! One client's watch: a cursor into the ring, a predicate, and nothing queued.
//!
//! A watcher is pulled by the connection that it feeds. It costs the server a cursor while its client is slow, and ends with
//! 410 when the ring has moved past the cursor, as upstream ends watchers that lag behind.
//!
//! There may be ten thousands of them, idle most of the time, and all woken at once: so an idle watcher waits for two things only, its waker and one
//! timer, which stays where it is while events pass. Whatever else may end it (its cache, the server) makes itself known through the waker.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use apimachinery::status::Status;
use etcd::Revision;
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};

use super::{CachedObject, Cacher, Event, EventType, Predicate, Snapshot, signature::Signature};

/// How many events are looked at under the lock at a time.
const CHUNK: usize = 256;
/// So many steps may wait for their turn in room that is kept; more room is given back when they are taken.
const KEPT_ROOM: usize = 4;
/// How often an idle watcher that asked for bookmarks gets one, as upstream.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// So long before its end it gets a last one: its client goes on from there, as upstream.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);

/// What a client asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct WatcherOptions {
    /// Events after this revision; `None` begins with the current objects as ADDED.
    pub after: Option<Revision>,
    /// Send bookmarks.
    pub bookmarks: bool,
    /// Mark the end of the initial objects by a bookmark with the annotation `k8s.io/initial-events-end`.
    pub initial_events_end: bool,
    /// It ends then, whatever happens; `None` lets it go on.
    pub until: Option<Instant>,
    /// Its place, from 0 to 1, among the watches that end one after the other when the server stops; `None` if that is nothing to it.
    pub ends_with_server: Option<f64>,
}

/// What a watcher gives next.
#[derive(Debug)]
pub enum Step {
    /// Something happened: the type to the client, and the object to show (with the version that the client must see).
    Event(EventType, Arc<CachedObject>),
    /// Everything the client selects is delivered up to this revision.
    Bookmark {
        /// Up to where.
        revision: Revision,
        /// Whether this is the end of the initial objects.
        initial_events_end: bool,
    },
    /// The end: the client has to start anew.
    Failed(Box<Status>),
}

/// A watch under way.
#[derive(Debug)]
pub struct Watcher {
    cacher: Arc<Cacher>,
    predicate: Predicate,
    demanded: Signature,
    options: WatcherOptions,
    initial: Option<Initial>,
    ready: VecDeque<Step>,
    cursor: u64,
    sequence: watch::Receiver<u64>,
    next_bookmark: Option<Instant>,
    /// When it ends, as far as that is known.
    end: Option<Instant>,
    /// Goes off at the next bookmark, or at the end; set when first waited for.
    alarm: Option<Pin<Box<Sleep>>>,
    failed: bool,
}

#[derive(Debug)]
struct Initial {
    snapshot: Snapshot,
    after: Option<bytes::Bytes>,
}

impl Watcher {
    /// Starts a watch. Fails if the history does not reach back to `options.after`; the caller has waited for the cache to be as fresh
    /// as the request demands.
    pub fn start(
        cacher: Arc<Cacher>,
        predicate: Predicate,
        options: WatcherOptions,
    ) -> Result<Self, Box<Status>> {
        let sequence = cacher.wakers.subscribe(&predicate);
        let hub = *cacher.hub_revision.borrow();
        let (cursor, initial) = {
            let state = cacher.read();
            match options.after {
                Some(after) => {
                    let cursor = state.ring.cursor_after(after).ok_or_else(|| {
                        Box::new(Status::too_old_resource_version(
                            number(after),
                            number(state.ring.complete_after()),
                        ))
                    })?;
                    (cursor, None)
                }
                None => {
                    let snapshot = Snapshot {
                        objects: state.objects.clone(),
                        revision: hub.max(state.revision),
                    };
                    let initial = Initial {
                        snapshot,
                        after: None,
                    };
                    (state.ring.next_sequence(), Some(initial))
                }
            }
        };
        Ok(Self {
            cacher,
            demanded: predicate.signature(),
            predicate,
            options,
            initial,
            ready: VecDeque::new(),
            cursor,
            sequence,
            next_bookmark: next_bookmark(options, Instant::now()),
            end: options.until,
            alarm: None,
            failed: false,
        })
    }

    /// What comes next; `None` after the end. Safe to cancel.
    pub async fn next(&mut self) -> Option<Step> {
        // However much there is to tell.
        if self.has_come_to_its_end() {
            return None;
        }
        loop {
            if let Some(step) = self.try_next() {
                return Some(step);
            }
            if self.failed || self.is_over() {
                return None;
            }
            self.set_alarm();
            let alarm = async {
                match &mut self.alarm {
                    Some(alarm) => alarm.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = self.sequence.changed() => if changed.is_err() { return None },
                () = alarm => if let Some(step) = self.due_bookmark() { return Some(step) },
            }
        }
    }

    /// Whether nothing more will come. Asked after what was there has been taken, and before the waker is waited for: whoever ends it says so first
    /// and wakes it then.
    fn is_over(&mut self) -> bool {
        if self.cacher.has_ended() {
            return true;
        }
        if let Some(place) = self.options.ends_with_server
            && let Some(end) = self.cacher.ending.of(place)
        {
            self.end = Some(self.end.map_or(end, |known| known.min(end)));
        }
        self.has_come_to_its_end()
    }

    fn has_come_to_its_end(&self) -> bool {
        self.end.is_some_and(|end| end <= Instant::now())
    }

    fn set_alarm(&mut self) {
        let times = [self.next_bookmark, self.end];
        let Some(time) = times.into_iter().flatten().min() else {
            return;
        };
        match &mut self.alarm {
            Some(alarm) if alarm.deadline() == time => {}
            Some(alarm) => alarm.as_mut().reset(time),
            None => self.alarm = Some(Box::pin(tokio::time::sleep_until(time))),
        }
    }

    /// The alarm has gone off: a bookmark, if it is time for one.
    fn due_bookmark(&mut self) -> Option<Step> {
        let now = Instant::now();
        self.next_bookmark.filter(|time| *time <= now)?;
        self.next_bookmark = next_bookmark(self.options, now);
        // What did not concern it has not woken it, and lies between its cursor and the present.
        self.try_next().or_else(|| self.bookmark())
    }

    /// What is there already, without waiting.
    pub fn try_next(&mut self) -> Option<Step> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(step);
            }
            // After a stretch of initial objects an idle watcher would keep kilobytes of nothing.
            if self.ready.capacity() > KEPT_ROOM {
                self.ready = VecDeque::new();
            }
            if self.failed {
                return None;
            }
            if self.initial.is_some() {
                self.take_initial();
            } else if !self.take_events() {
                return None;
            }
        }
    }

    /// The next stretch of the initial objects; at their end the bookmark that says so.
    fn take_initial(&mut self) {
        let Some(initial) = &mut self.initial else {
            return;
        };
        let stretch: Vec<_> = initial
            .snapshot
            .select(&self.predicate, initial.after.as_deref())
            .take(CHUNK)
            .cloned()
            .collect();
        if let Some(last) = stretch.last() {
            initial.after = Some(last.key.clone());
            let added = |object| Step::Event(EventType::Added, object);
            self.ready.extend(stretch.into_iter().map(added));
            return;
        }
        let revision = initial.snapshot.revision;
        self.initial = None;
        if self.options.initial_events_end && self.options.bookmarks {
            self.ready.push_back(Step::Bookmark {
                revision,
                initial_events_end: true,
            });
        }
    }

    /// The next stretch of events; false if there are none.
    fn take_events(&mut self) -> bool {
        self.sequence.mark_unchanged();
        // The cache may have been behind the revision that the watch goes on from.
        let after = self.options.after.unwrap_or_default();
        let found = {
            let state = self.cacher.read();
            state.ring.from(self.cursor, CHUNK).map(|events| {
                let mut passed = 0;
                let concerns: Vec<Arc<Event>> = events
                    .inspect(|_| passed += 1)
                    .filter(|event| event.revision > after && event.may_concern(self.demanded))
                    .cloned()
                    .collect();
                (passed, concerns)
            })
        };
        let Some((passed, events)) = found else {
            self.failed = true;
            self.cacher.stats.terminated.add(1);
            let oldest = number(self.cacher.oldest());
            let status = Status::expired(format!(
                "too old resource version: watcher fell behind ({oldest})"
            ));
            self.ready.push_back(Step::Failed(Box::new(status)));
            return true;
        };
        self.cursor += passed;
        for event in &events {
            if let Some(step) = self.select(event) {
                self.ready.push_back(step);
            }
        }
        passed > 0
    }

    /// What an event is to this client: objects come into its selection and leave it.
    fn select(&self, event: &Event) -> Option<Step> {
        let was = event
            .old
            .as_ref()
            .is_some_and(|old| self.predicate.matches(old));
        let is = !event.deleted && self.predicate.matches(&event.new);
        let step = match (was, is) {
            (false, false) => return None,
            (false, true) => Step::Event(EventType::Added, Arc::clone(&event.new)),
            (true, true) => Step::Event(EventType::Modified, Arc::clone(&event.new)),
            (true, false) if event.deleted => {
                Step::Event(EventType::Deleted, Arc::clone(&event.new))
            }
            // It left the selection: the client sees the version that it knew, with the revision of the change.
            (true, false) => {
                let old = event.old.as_ref()?;
                Step::Event(EventType::Deleted, Arc::new(old.tombstone(event.revision)))
            }
        };
        Some(step)
    }

    fn bookmark(&self) -> Option<Step> {
        // Read before the cursor is compared: everything up to it is in the ring then.
        let hub = *self.cacher.hub_revision.borrow();
        let state = self.cacher.read();
        (state.ring.next_sequence() == self.cursor).then(|| Step::Bookmark {
            revision: hub.max(state.revision),
            initial_events_end: false,
        })
    }
}

/// When a watcher that wants bookmarks is to get its next.
fn next_bookmark(options: WatcherOptions, now: Instant) -> Option<Instant> {
    if !options.bookmarks {
        return None;
    }
    let periodic = now + BOOKMARK_PERIOD;
    let last = options
        .until
        .and_then(|until| until.checked_sub(LAST_BOOKMARK));
    let next = last.map_or(periodic, |last| last.min(periodic));
    (next > now).then_some(next)
}

fn number(revision: Revision) -> u64 {
    u64::try_from(revision.0).unwrap_or(0)
}
