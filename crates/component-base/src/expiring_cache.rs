//! Answers of the API server, remembered for a while.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use base::Clock;
use jiff::Timestamp;

/// A cache of at most `capacity` entries, each with its own end. When it is full of living entries it starts anew: that costs
/// questions, never memory.
pub(crate) struct ExpiringCache<K, V> {
    entries: Mutex<HashMap<K, (V, Timestamp)>>,
    capacity: usize,
    clock: Clock,
}

impl<K: Eq + Hash, V: Clone> ExpiringCache<K, V> {
    pub(crate) fn new(capacity: usize, clock: Clock) -> Self {
        Self {
            entries: Mutex::default(),
            capacity,
            clock,
        }
    }

    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (value, end) = entries.get(key)?;
        (self.clock.now() < *end).then(|| value.clone())
    }

    pub(crate) fn insert(&self, key: K, value: V, ttl: Duration) {
        let now = self.clock.now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= self.capacity {
            entries.retain(|_, (_, end)| now < *end);
        }
        if entries.len() >= self.capacity {
            entries.clear();
        }
        entries.insert(key, (value, now.checked_add(ttl).unwrap_or(Timestamp::MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_end_and_are_bounded() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let cache = ExpiringCache::new(2, clock.clone());
        cache.insert("a", 1, Duration::from_secs(10));
        cache.insert("b", 2, Duration::from_secs(30));
        assert_eq!(cache.get(&"a"), Some(1));
        clock.advance(Duration::from_secs(10));
        assert_eq!((cache.get(&"a"), cache.get(&"b")), (None, Some(2)));
        cache.insert("c", 3, Duration::from_secs(30));
        assert_eq!(
            (cache.get(&"b"), cache.get(&"c")),
            (Some(2), Some(3)),
            "the ended one made room"
        );
        cache.insert("d", 4, Duration::from_secs(30));
        assert_eq!((cache.get(&"b"), cache.get(&"d")), (None, Some(4)));
    }
}
