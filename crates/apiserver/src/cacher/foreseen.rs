//! What writers tell the watch cache of objects that it will hear of from the store.
//!
//! Taking a change in means finding its labels and selectable fields, and reading these out of JSON is the dearest part of that. Who writes an object has it
//! as a tree, where they are found at once. A store in this process hands its watches the very buffer that was written ([`etcd::Kv::shares_values`]), which
//! tells whether a change is the one that was foreseen. Nobody relies on it: what comes otherwise, from another server, an etcd elsewhere or encrypted, is read.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use super::object::Indexed;

/// So many writes are remembered; the oldest may have failed.
const MAX_WRITES: usize = 256;
/// Larger objects are read: they are few, and would be held for too long.
const MAX_BYTES: usize = 32 << 10;

/// See the module's head.
#[derive(Debug, Default)]
pub(super) struct Foreseen(Mutex<VecDeque<(Bytes, Indexed)>>);

impl Foreseen {
    /// Whether it is worth telling.
    pub(super) fn takes(value: &Bytes) -> bool {
        value.len() <= MAX_BYTES
    }

    /// Remembers what `value` is found by.
    pub(super) fn tell(&self, value: Bytes, indexed: Indexed) {
        let mut writes = self.lock();
        let oldest = (writes.len() >= MAX_WRITES).then(|| writes.pop_front());
        writes.push_back((value, indexed));
        drop(writes);
        drop(oldest);
    }

    /// What has been told of this buffer, once.
    pub(super) fn take(&self, value: &Bytes) -> Option<Indexed> {
        let mut writes = self.lock();
        // Those that are held cannot have been freed, so that no two buffers have one address.
        let is_told = |(told, _): &(Bytes, Indexed)| {
            told.as_ptr() == value.as_ptr() && told.len() == value.len()
        };
        let at = writes.iter().position(is_told)?;
        writes.remove(at).map(|(_, indexed)| indexed)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(Bytes, Indexed)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_buffer_is_known_and_only_once() {
        let foreseen = Foreseen::default();
        let (value, same_text) = (Bytes::from(vec![b'a'; 9]), Bytes::from(vec![b'a'; 9]));
        foreseen.tell(value.clone(), Indexed::default());
        assert!(foreseen.take(&same_text).is_none());
        assert!(foreseen.take(&value.slice(..8)).is_none());
        assert!(foreseen.take(&value).is_some());
        assert!(foreseen.take(&value).is_none());
    }

    #[test]
    fn what_never_comes_is_forgotten() {
        let foreseen = Foreseen::default();
        let values: Vec<Bytes> = (0..=MAX_WRITES).map(|_| Bytes::from(vec![0; 9])).collect();
        for value in &values {
            foreseen.tell(value.clone(), Indexed::default());
        }
        assert_eq!(foreseen.lock().len(), MAX_WRITES);
        assert!(foreseen.take(&values[0]).is_none());
        assert!(foreseen.take(&values[1]).is_some());
    }
}
