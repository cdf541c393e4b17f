//! What was verified a moment ago is not verified again: results of the costly part of authentication, by digest of the credential.
//!
//! Bounded in number and in time. What may change in between (objects that a token is bound to) is never part of a result.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use ring::digest;

/// So many credentials are remembered; when there are more, what has expired goes, and if that is not enough, all.
const MAX_ENTRIES: usize = 8192;

/// SHA-256 of a credential: a copy of the cache gives nothing away.
pub(crate) type Key = [u8; 32];

/// The key of a credential in parts.
pub(crate) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Key {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut key = Key::default();
    key.copy_from_slice(context.finish().as_ref());
    key
}

/// Results by key, each until its time.
#[derive(Debug)]
pub(crate) struct Cache<V> {
    entries: Mutex<HashMap<Key, (Timestamp, V)>>,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self {
            entries: Mutex::default(),
        }
    }
}

impl<V: Clone> Cache<V> {
    /// The result, if it still holds at `now`.
    pub(crate) fn get(&self, key: &Key, now: Timestamp) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, value) = entries.get(key)?;
        (now < *until).then(|| value.clone())
    }

    /// Keeps a result for `ttl` from `now`.
    pub(crate) fn put(&self, key: Key, value: V, now: Timestamp, ttl: Duration) {
        let Ok(until) = now.checked_add(ttl) else {
            return;
        };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES {
            entries.retain(|_, (until, _)| now < *until);
        }
        if entries.len() >= MAX_ENTRIES {
            entries.clear();
        }
        entries.insert(key, (until, value));
    }

    /// Forgets everything: what is believed has changed.
    pub(crate) fn clear(&self) {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_hold_for_a_while_and_are_bounded() {
        let cache = Cache::default();
        let start = Timestamp::UNIX_EPOCH;
        let one = key([b"a".as_slice(), b"bc"]);
        assert_ne!(one, key([b"ab".as_slice(), b"c"]));
        cache.put(one, 1, start, Duration::from_secs(10));
        assert_eq!(cache.get(&one, start), Some(1));
        assert_eq!(cache.get(&one, start + Duration::from_secs(10)), None);
        for n in 0..MAX_ENTRIES as u64 * 2 {
            cache.put(
                key([n.to_be_bytes().as_slice()]),
                0,
                start,
                Duration::from_secs(1),
            );
        }
        assert!(cache.entries.lock().unwrap().len() <= MAX_ENTRIES);
    }
}
