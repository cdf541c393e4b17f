//! Forgetting: compaction is a mark that readers heed at once, and a scrub that follows in small steps.
//!
//! The scrub visits only the keys that the forgotten revisions changed: a version is superseded by a change in that span, or was
//! removed by an earlier scrub.

use super::{Store, size};
use crate::{KvError, Revision, embedded::record::Record};

impl Store {
    /// Forgets history before `requested`, when `now` is the last durable revision.
    pub(in crate::embedded) fn compact(
        &mut self,
        requested: Revision,
        now: Revision,
    ) -> Result<Record, KvError> {
        if requested.0 <= self.compacted {
            let compacted = Revision(self.compacted);
            return Err(KvError::Compacted {
                requested,
                compacted,
            });
        }
        if requested > now {
            return Err(KvError::FutureRevision {
                requested,
                current: now,
            });
        }
        self.compacted = requested.0;
        Ok(Record::Compact {
            revision: requested.0,
        })
    }

    /// Where to compact so that the history gets smaller, if it is larger than this: by about half.
    pub(in crate::embedded) fn overfull(&self, bytes: u64, revisions: usize) -> Option<Revision> {
        let full = self.history_size > bytes || self.history.len() > revisions;
        // What has been forgotten is still to be freed.
        let pending = self.history_start < self.compacted;
        let half = self.history_start + (self.history.len() / 2) as i64;
        (full && !pending && half > self.compacted).then_some(Revision(half))
    }

    /// Frees what compaction has forgotten, `steps` revisions at most. Answers whether there is more to do.
    pub(in crate::embedded) fn scrub(&mut self, steps: usize) -> bool {
        for _ in 0..steps {
            if self.history_start >= self.compacted {
                // The entry of `compacted` stays for watches, but what it superseded goes.
                if let Some(keys) = self
                    .history
                    .front()
                    .filter(|_| self.history_start == self.compacted)
                {
                    for key in keys.clone() {
                        self.scrub_key(&key);
                    }
                }
                return false;
            }
            let Some(keys) = self.history.pop_front() else {
                return false;
            };
            self.history_start += 1;
            for key in keys {
                self.scrub_key(&key);
            }
        }
        true
    }

    fn scrub_key(&mut self, key: &bytes::Bytes) {
        let Some(versions) = self.keys.get_mut(key) else {
            return;
        };
        let reached = versions.partition_point(|version| version.mod_revision <= self.compacted);
        let Some(last) = reached.checked_sub(1) else {
            return;
        };
        let gone_too = versions[last].is_deletion() && versions[last].mod_revision < self.compacted;
        let newest = versions.len() - 1;
        for (place, version) in versions.drain(..last + usize::from(gone_too)).enumerate() {
            self.size -= size(key, &version);
            if place < newest {
                self.history_size -= size(key, &version);
            }
        }
        if versions.is_empty() {
            self.keys.remove(key);
        } else if versions.capacity() > 2 * versions.len() {
            versions.shrink_to_fit();
        }
    }
}
