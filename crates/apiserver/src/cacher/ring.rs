//! The recent history of one resource: events in order, bounded by number, by bytes and by age.
//!
//! Watchers hold a cursor, the sequence number of the event they take next. A cursor that points before the ring's first event has
//! fallen too far behind: its watcher ends with 410, and nobody waits for it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use etcd::Revision;
use tokio::time::Instant;

use super::{object::CachedObject, signature::Signature};

/// At most so many events are kept for a resource…
pub(crate) const MAX_EVENTS: usize = 8192;
/// …and at most so many bytes of versions that are no longer current, though never fewer events than [`MIN_EVENTS`].
pub(super) const MAX_BYTES: usize = 24 << 20;
/// However large and old they are.
pub(super) const MIN_EVENTS: usize = 128;
/// Older ones go, as the store forgets them then. Else a hundred resources would each fill their bounds and never give the room back.
pub(super) const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// One change of one object.
#[derive(Debug)]
pub struct Event {
    /// When.
    pub revision: Revision,
    /// The version before; none if it was created.
    pub old: Option<Arc<CachedObject>>,
    /// The version after; for a deletion the tombstone.
    pub new: Arc<CachedObject>,
    /// Whether it was deleted.
    pub deleted: bool,
    /// Bits of both versions: an object that was selected or is has all bits that its selector demands.
    signature: Signature,
}

impl Event {
    pub(super) fn new(
        revision: Revision,
        old: Option<Arc<CachedObject>>,
        new: Arc<CachedObject>,
        deleted: bool,
    ) -> Self {
        let before = old.as_ref().map(|old| old.signature());
        Self {
            revision,
            signature: new.signature().union(before.unwrap_or_default()),
            old,
            new,
            deleted,
        }
    }

    /// Whether a selector with these demands may select either version.
    pub(super) fn may_concern(&self, demanded: Signature) -> bool {
        self.signature.covers(demanded)
    }

    fn size(&self) -> usize {
        self.old.as_ref().map_or(0, |old| old.size())
            + if self.deleted {
                self.new.size()
            } else {
                size_of::<Self>()
            }
    }
}

/// Events `first_sequence ..`, in ascending revision.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    first_sequence: u64,
    /// Events after this revision are all here; what was before is unknown.
    complete_after: Revision,
    /// Which event was the next at which time; the latest of them no older than [`MAX_AGE`].
    marks: VecDeque<(Instant, u64)>,
}

impl Ring {
    /// An empty history that begins after `revision`.
    pub(super) fn new(revision: Revision) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            first_sequence: 0,
            complete_after: revision,
            marks: VecDeque::new(),
        }
    }

    /// Forgets everything: history begins anew after `revision`. Cursors into the past fall out of the ring.
    pub(super) fn reset(&mut self, revision: Revision) {
        // One is skipped, so that a cursor that waited for the next event is out too: it may have missed some.
        self.first_sequence = self.next_sequence() + 1;
        self.events.clear();
        self.bytes = 0;
        self.complete_after = revision;
        self.marks.clear();
    }

    /// Notes the time, and takes out what was there at a time noted [`MAX_AGE`] ago; what is taken out is for the caller to drop. Between two
    /// calls everyone who watches has to be woken: a cursor that was not moved for so long falls out.
    pub(super) fn age(&mut self, now: Instant) -> Vec<Arc<Event>> {
        let mut gone = Vec::new();
        while let Some((noted, sequence)) = self.marks.front().copied()
            && now.duration_since(noted) >= MAX_AGE
        {
            self.marks.pop_front();
            while self.first_sequence < sequence && self.events.len() > MIN_EVENTS {
                gone.extend(self.pop());
            }
        }
        if self
            .marks
            .back()
            .is_none_or(|(_, sequence)| *sequence != self.next_sequence())
        {
            self.marks.push_back((now, self.next_sequence()));
        }
        gone
    }

    /// Adds an event and lets old ones go.
    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.size();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS
            || (self.bytes > MAX_BYTES && self.events.len() > MIN_EVENTS)
        {
            self.pop();
        }
    }

    fn pop(&mut self) -> Option<Arc<Event>> {
        let gone = self.events.pop_front()?;
        self.bytes -= gone.size();
        self.first_sequence += 1;
        self.complete_after = gone.revision;
        Some(gone)
    }

    /// How many events it holds.
    pub(super) fn len(&self) -> usize {
        self.events.len()
    }

    /// The sequence number that the next event will have.
    pub(super) fn next_sequence(&self) -> u64 {
        self.first_sequence + self.events.len() as u64
    }

    /// The revision after which history is complete.
    pub(super) fn complete_after(&self) -> Revision {
        self.complete_after
    }

    /// The cursor of the first event after `revision`; `None` if history does not reach back so far.
    pub(super) fn cursor_after(&self, revision: Revision) -> Option<u64> {
        if revision < self.complete_after {
            return None;
        }
        let index = self
            .events
            .partition_point(|event| event.revision <= revision);
        Some(self.first_sequence + index as u64)
    }

    /// Up to `limit` events from `cursor` on; `None` if the cursor has fallen out of the ring.
    pub(super) fn from(
        &self,
        cursor: u64,
        limit: usize,
    ) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let index = cursor.checked_sub(self.first_sequence)? as usize;
        Some(self.events.iter().skip(index).take(limit))
    }

    /// The events after `revision`, latest first: to undo them.
    pub(super) fn backwards_to(&self, revision: Revision) -> impl Iterator<Item = &Arc<Event>> {
        self.events
            .iter()
            .rev()
            .take_while(move |event| event.revision > revision)
    }
}
