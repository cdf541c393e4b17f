//! Exponential back-off by key, as client-go's `flowcontrol.Backoff`: the first failure costs nothing, then the delay doubles from
//! `initial` to `max`, and is forgotten after twice `max` of quiet.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

/// Delays by key. Its size is bounded by its users' keys: containers and images of one pod.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: SignedDuration,
    max: SignedDuration,
    entries: HashMap<String, Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

impl Backoff {
    /// With these bounds.
    pub fn new(initial: SignedDuration, max: SignedDuration) -> Self {
        Self {
            initial: initial.min(max),
            max,
            entries: HashMap::new(),
        }
    }

    /// Until when a key is to wait that failed at `event`; nothing if it need not.
    pub fn waits_until(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self
            .entries
            .get(key)
            .filter(|entry| !self.expired(entry, event))?;
        let until = event.checked_add(entry.delay).ok()?;
        (now < until).then_some(until)
    }

    /// The delay of a key now.
    pub fn delay(&self, key: &str) -> SignedDuration {
        self.entries
            .get(key)
            .map_or(SignedDuration::ZERO, |entry| entry.delay)
    }

    /// Counts another failure, which happened at `event`.
    pub fn next(&mut self, key: &str, event: Timestamp, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !self.expired(entry, event) => (entry.delay * 2).min(self.max),
            _ => self.initial,
        };
        self.entries.insert(
            key.to_owned(),
            Entry {
                delay,
                updated: now,
            },
        );
    }

    fn expired(&self, entry: &Entry, event: Timestamp) -> bool {
        event.duration_since(entry.updated) > self.max * 2
    }
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}
