//! Who is woken by which event.
//!
//! A thousand kubelets watch the pods of one node each; an event of one pod concerns one of them. So watchers wait by *interest*: for
//! one name, one value of a selectable field, one namespace, or everything. An event wakes only the interests that it can concern;
//! what exactly a woken watcher selects, it finds out by itself.
//!
//! A watcher that is not woken does not move on in the ring, and must not fall out of it for that: [`Wakers::wake`] wakes everyone once in a while,
//! long before the ring has turned over. Interests that nobody waits for are forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

use super::{CachedObject, Event, Predicate};

/// Interests are cleared of those that nobody has any more when there are more than this, and then at twice what was left.
const FIRST_PURGE: usize = 64;

/// What a watcher waits for; the narrowest that holds all it selects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Interest {
    Everything,
    Namespace(Box<str>),
    /// Whatever its namespace.
    Name(Box<str>),
    Field(Box<str>, Box<str>),
}

impl Interest {
    fn of(predicate: &Predicate) -> Self {
        let fields = &predicate.fields;
        let name = match predicate.name.as_str() {
            "" => fields.exact("metadata.name").unwrap_or_default(),
            name => name,
        };
        let namespace = predicate.namespace.as_str();
        if !name.is_empty() {
            return Self::Name(name.into());
        }
        // A field without a value is not in the index.
        let field = fields
            .requirements
            .iter()
            .find(|r| r.equal && !r.value.is_empty() && !r.field.starts_with("metadata."));
        match field {
            Some(field) => Self::Field(field.field.as_str().into(), field.value.as_str().into()),
            None if namespace.is_empty() => Self::Everything,
            None => Self::Namespace(namespace.into()),
        }
    }
}

/// The interests of a resource's watchers. Each carries the sequence number of the ring's next event when it was last woken.
#[derive(Debug)]
pub(super) struct Wakers {
    everything: watch::Sender<u64>,
    interests: Mutex<Interests>,
}

#[derive(Debug, Default)]
struct Interests {
    senders: HashMap<Interest, watch::Sender<u64>>,
    /// The fields that somebody's interest is of.
    fields: Vec<Box<str>>,
    purge_at: usize,
    /// The sequence number at which everyone was last woken.
    all_woken_at: u64,
}

impl Default for Wakers {
    fn default() -> Self {
        Self {
            everything: watch::Sender::new(0),
            interests: Mutex::new(Interests {
                purge_at: FIRST_PURGE,
                ..Interests::default()
            }),
        }
    }
}

impl Wakers {
    /// The sequence number of the ring's next event, as of the last wake.
    pub(super) fn sequence(&self) -> u64 {
        *self.everything.borrow()
    }

    /// What changes when something may have happened that the predicate selects.
    pub(super) fn subscribe(&self, predicate: &Predicate) -> watch::Receiver<u64> {
        let interest = Interest::of(predicate);
        if interest == Interest::Everything {
            return self.everything.subscribe();
        }
        let mut interests = self.lock();
        if interests.senders.len() >= interests.purge_at {
            interests.purge();
        }
        if let Interest::Field(field, _) = &interest
            && !interests.fields.contains(field)
        {
            interests.fields.push(field.clone());
        }
        let sender = interests.senders.entry(interest);
        sender.or_insert_with(|| watch::Sender::new(0)).subscribe()
    }

    /// Wakes those whom these events concern; everyone when the ring has moved on by an eighth of its length since everyone was woken.
    pub(super) fn wake(&self, events: &[Arc<Event>], sequence: u64, ring_length: usize) {
        self.everything.send_replace(sequence);
        let mut interests = self.lock();
        if interests.senders.is_empty() {
            interests.all_woken_at = sequence;
            return;
        }
        let moved = sequence - interests.all_woken_at;
        if moved > ring_length as u64 / 8 {
            interests.wake_all(sequence);
            return;
        }
        for event in events {
            interests.wake_for(event, sequence);
        }
    }

    /// Wakes everyone who has not been woken by what has happened.
    pub(super) fn catch_up(&self) {
        let sequence = self.sequence();
        let mut interests = self.lock();
        if interests.all_woken_at < sequence {
            interests.wake_all(sequence);
        }
    }

    /// History has broken off: everyone is to find out.
    pub(super) fn wake_all(&self, sequence: u64) {
        self.everything.send_replace(sequence);
        self.lock().wake_all(sequence);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Interests> {
        self.interests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Interests {
    fn wake_all(&mut self, sequence: u64) {
        self.all_woken_at = sequence;
        for sender in self.senders.values() {
            sender.send_replace(sequence);
        }
    }

    fn wake_for(&self, event: &Event, sequence: u64) {
        let wake = |interest: &Interest| {
            if let Some(sender) = self.senders.get(interest) {
                sender.send_replace(sequence);
            }
        };
        let new = &event.new;
        let (namespace, name) = new.namespace_and_name();
        wake(&Interest::Name(name.into()));
        if !namespace.is_empty() {
            wake(&Interest::Namespace(namespace.into()));
        }
        for field in &self.fields {
            let value = |object: &Arc<CachedObject>| object.field(field).map(Box::<str>::from);
            let (new, old) = (value(new), event.old.as_ref().and_then(value));
            if new != old
                && let Some(old) = old
            {
                wake(&Interest::Field(field.clone(), old));
            }
            if let Some(new) = new {
                wake(&Interest::Field(field.clone(), new));
            }
        }
    }

    fn purge(&mut self) {
        self.senders.retain(|_, sender| sender.receiver_count() > 0);
        self.purge_at = FIRST_PURGE.max(2 * self.senders.len());
        let senders = &self.senders;
        self.fields.retain(|field| {
            let of_field = |i: &Interest| matches!(i, Interest::Field(f, _) if f == field);
            senders.keys().any(of_field)
        });
    }
}
