//! The memory of the store: every key with its versions, and which keys each revision changed. Pure: no I/O, no clock, no threads.
//!
//! **Ahead and durable.** [`Store::apply`] runs at the *head*, ahead of the disk. Readers name the revision they read at, and the
//! shell lets them name none later than what is durable; since a version carries its revision, what is not durable is simply not
//! visible to them. So a reader never waits for the disk, and a failed write needs no undoing: it stays invisible for ever.
//!
//! Worked example, `put a`, `put b`, `delete a`, compaction at 3:
//!
//! ```text
//! keys:     a: [2, 4✝]   b: [3]        history: 2→[a] 3→[b] 4→[a]
//! compact 3:
//! keys:     a: [2, 4✝]   b: [3]        history: 3→[b] 4→[a]      (a@2 is what a reader at 3 sees: it stays)
//! compact 4:
//! keys:     a: [4✝]      b: [3]        history: 4→[a]            (the deletion stays for watches from 4)
//! compact 5 (after a `put c`):
//! keys:     b: [3]  c: [5]             history: 5→[c]
//! ```
//!
//! Invariants: a key's versions ascend; `history` has one entry for each revision from `history_start` to the head; every version
//! with a revision in `history` is listed there, at its position.

mod check;
mod compact;
mod read;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    ops::Bound,
};

use bytes::Bytes;
pub(super) use read::{empty, read_at};
use smallvec::{SmallVec, smallvec};

use super::record::{Record, Version};
use crate::{Compare, KeyRange, KeyValue, LeaseId, Op, OpResponse, Revision, Txn, TxnResponse};

/// The keys of one revision, in the order of the changes.
type Changed = SmallVec<[Bytes; 1]>;

/// The versions of one key, ascending. Most keys have one, which then needs no allocation of its own.
type Versions = SmallVec<[Version; 1]>;

/// See the module's head.
#[derive(Debug)]
pub struct Store {
    keys: BTreeMap<Bytes, Versions>,
    history: VecDeque<Changed>,
    /// The revision of `history`'s first entry.
    history_start: i64,
    head: i64,
    compacted: i64,
    leases: HashMap<LeaseId, Lease>,
    /// Bytes of all keys and values, of all versions.
    size: u64,
    /// Those of versions that others have superseded, and of deletions.
    history_size: u64,
}

#[derive(Debug, Default)]
struct Lease {
    ttl: i64,
    keys: BTreeSet<Bytes>,
}

/// What a transaction did: its answer, and for one that wrote, what the log must say.
pub struct Applied {
    /// The answer, to be given when the record is durable.
    pub response: TxnResponse,
    pub(super) record: Option<Record>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// The empty store, at revision 1.
    pub fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            history_start: 2,
            head: 1,
            compacted: 0,
            leases: HashMap::new(),
            size: 0,
            history_size: 0,
        }
    }

    /// The revision of the last write applied, durable or not.
    pub fn head(&self) -> Revision {
        Revision(self.head)
    }

    /// The oldest revision that can be read. 0: nothing has been compacted.
    pub fn compacted(&self) -> Revision {
        Revision(self.compacted)
    }

    /// Keys held, deleted ones with history among them.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Bytes of all keys and values, of all versions.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Runs a transaction at the head. A refused one changes nothing.
    pub fn apply(&mut self, txn: &Txn) -> Result<Applied, crate::KvError> {
        self.check(txn)?;
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let ops = if succeeded {
            &txn.success
        } else {
            &txn.failure
        };
        let mut changes = Vec::new();
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            responses.push(match op {
                Op::Put { key, value, lease } => {
                    OpResponse::Put(self.put(key, value, *lease, &mut changes))
                }
                Op::Delete(range) => OpResponse::Delete(self.delete(range, &mut changes)),
                Op::Range(request) => {
                    // The revision it is to answer with is that of this transaction's writes so far.
                    let now = Revision(self.head + i64::from(!changes.is_empty()));
                    OpResponse::Range(self.read(request, now))
                }
            });
        }
        let record = self.commit(changes);
        let response = TxnResponse {
            revision: Revision(self.head),
            succeeded,
            responses,
        };
        Ok(Applied { response, record })
    }

    /// Adds a lease. The caller has made sure that `id` is free.
    pub(super) fn grant(&mut self, id: LeaseId, ttl: i64) -> Record {
        self.leases.insert(
            id,
            Lease {
                ttl,
                keys: BTreeSet::new(),
            },
        );
        Record::LeaseGrant { id, ttl }
    }

    /// Ends a lease: the deletion of its keys (one revision for all), if it has any, and its end.
    pub(super) fn revoke(&mut self, id: LeaseId) -> Result<Vec<Record>, crate::KvError> {
        let lease = self
            .leases
            .remove(&id)
            .ok_or(crate::KvError::LeaseNotFound(id))?;
        let mut changes = Vec::new();
        for key in lease.keys {
            self.delete(&KeyRange::key(key), &mut changes);
        }
        let mut records: Vec<Record> = self.commit(changes).into_iter().collect();
        records.push(Record::LeaseRevoke { id });
        Ok(records)
    }

    /// Whether there is such a lease.
    pub(super) fn has_lease(&self, id: LeaseId) -> bool {
        self.leases.contains_key(&id)
    }

    /// All leases with their times to live in seconds.
    pub(super) fn leases(&self) -> Vec<(LeaseId, i64)> {
        self.leases
            .iter()
            .map(|(id, lease)| (*id, lease.ttl))
            .collect()
    }

    /// The keys that hang on a lease.
    pub(super) fn lease_keys(&self, id: LeaseId) -> Option<Vec<Bytes>> {
        Some(self.leases.get(&id)?.keys.iter().cloned().collect())
    }

    fn holds(&self, compare: &Compare) -> bool {
        let current = |key: &Bytes| self.keys.get(key).and_then(|versions| live(versions));
        match compare {
            Compare::ModRevision(key, revision) => {
                current(key).map_or(0, |version| version.mod_revision) == revision.0
            }
            Compare::CreateRevision(key, revision) => {
                current(key).map_or(0, |version| version.create_revision) == revision.0
            }
            Compare::Version(key, number) => {
                current(key).map_or(0, |version| version.version) == *number
            }
            Compare::Value(key, value) => {
                current(key).is_some_and(|version| version.value == value)
            }
        }
    }

    fn put(
        &mut self,
        key: &Bytes,
        value: &Bytes,
        lease: LeaseId,
        changes: &mut Vec<(Bytes, Version)>,
    ) -> Option<KeyValue> {
        let revision = self.head + 1;
        // The map's copy of the key is the one that is shared from here on.
        let (key, old) = match self.keys.get_key_value(key) {
            Some((key, versions)) => (key.clone(), live(versions).cloned()),
            None => (key.clone(), None),
        };
        let version = Version {
            mod_revision: revision,
            create_revision: old.as_ref().map_or(revision, |old| old.create_revision),
            version: old.as_ref().map_or(1, |old| old.version + 1),
            lease,
            position: position(changes),
            value: value.clone(),
        };
        let old = old.map(|old| old.key_value(&key));
        self.insert(key.clone(), version.clone());
        changes.push((key, version));
        old
    }

    fn delete(&mut self, range: &KeyRange, changes: &mut Vec<(Bytes, Version)>) -> Vec<KeyValue> {
        let removed: Vec<KeyValue> = self
            .keys
            .range::<[u8], _>(bounds(range))
            .filter_map(|(key, versions)| Some(live(versions)?.key_value(key)))
            .collect();
        for old in &removed {
            let version = Version {
                mod_revision: self.head + 1,
                create_revision: 0,
                version: 0,
                lease: LeaseId::default(),
                position: position(changes),
                value: Bytes::new(),
            };
            self.insert(old.key.clone(), version.clone());
            changes.push((old.key.clone(), version));
        }
        removed
    }

    /// Adds a version on top of a key's others.
    fn insert(&mut self, key: Bytes, version: Version) {
        let versions = self.keys.entry(key.clone()).or_default();
        let old_lease = versions.last().map_or(LeaseId::default(), |old| old.lease);
        let new_lease = version.lease;
        self.size += size(&key, &version);
        self.history_size += versions.last().map_or(0, |old| size(&key, old));
        versions.push(version);
        if old_lease != new_lease {
            if let Some(lease) = self.leases.get_mut(&old_lease) {
                lease.keys.remove(&key);
            }
            if let Some(lease) = self.leases.get_mut(&new_lease) {
                lease.keys.insert(key);
            }
        }
    }

    /// Ends a transaction: if it changed anything, that is the next revision.
    fn commit(&mut self, changes: Vec<(Bytes, Version)>) -> Option<Record> {
        if changes.is_empty() {
            return None;
        }
        self.head += 1;
        self.history
            .push_back(changes.iter().map(|(key, _)| key.clone()).collect());
        Some(Record::Txn {
            revision: self.head,
            changes,
        })
    }

    /// Takes in a record of the log, at recovery. `Err` says why it cannot follow what went before.
    pub(super) fn replay(&mut self, record: Record) -> Result<(), &'static str> {
        match record {
            Record::Txn { revision, changes } => {
                if revision != self.head + 1 {
                    return Err("a revision is missing or repeated");
                }
                let mut keys: Changed = smallvec![];
                for (key, version) in changes {
                    let key = self
                        .keys
                        .get_key_value(&key)
                        .map_or(key, |(key, _)| key.clone());
                    keys.push(key.clone());
                    self.insert(key, version);
                }
                self.history.push_back(keys);
                self.head = revision;
            }
            Record::Compact { revision } => {
                // A checkpoint may already be past compactions that the log behind it still tells.
                if revision > self.head {
                    return Err("a compaction is ahead of the revisions");
                }
                self.compacted = self.compacted.max(revision);
            }
            Record::LeaseGrant { id, ttl } => drop(self.grant(id, ttl)),
            Record::LeaseRevoke { id } => drop(self.leases.remove(&id)),
            _ => return Err("the record is out of place"),
        }
        Ok(())
    }

    /// Takes in a key of a checkpoint. Leases have been granted before; [`Store::seal_load`] follows the last key.
    pub(super) fn load(&mut self, key: Bytes, versions: Vec<Version>) -> Result<(), &'static str> {
        if versions.is_empty() || !versions.is_sorted_by_key(|version| version.mod_revision) {
            return Err("the versions of a key do not ascend");
        }
        for version in versions {
            self.insert(key.clone(), version);
        }
        Ok(())
    }

    /// Ends the loading of a checkpoint taken at `revision`.
    pub(super) fn seal_load(&mut self, revision: i64, compacted: i64) -> Result<(), &'static str> {
        // A compaction may have come while the checkpoint was being written, at a revision that only the log behind it has.
        let start = compacted.min(revision + 1).max(2);
        let mut changes: Vec<(i64, u32, Bytes)> = Vec::new();
        for (key, versions) in &self.keys {
            let late = versions
                .iter()
                .filter(|version| version.mod_revision >= start);
            changes.extend(late.map(|late| (late.mod_revision, late.position, key.clone())));
        }
        changes.sort_unstable();
        self.history_start = start;
        self.head = start - 1;
        for (change_revision, position, key) in changes {
            if change_revision == self.head + 1 {
                self.head = change_revision;
                self.history.push_back(smallvec![]);
            }
            let keys = self.history.back_mut().ok_or("a revision is missing")?;
            if change_revision != self.head || keys.len() != position as usize {
                return Err("a change is missing");
            }
            keys.push(key);
        }
        if self.head != revision.max(start - 1) {
            return Err("a revision is missing");
        }
        self.head = revision;
        self.compacted = compacted;
        Ok(())
    }
}

/// The newest version, unless it is a deletion.
fn live(versions: &[Version]) -> Option<&Version> {
    versions.last().filter(|version| !version.is_deletion())
}

fn size(key: &Bytes, version: &Version) -> u64 {
    (key.len() + version.value.len()) as u64
}

fn position(changes: &[(Bytes, Version)]) -> u32 {
    u32::try_from(changes.len()).expect("a transaction changes fewer keys than memory holds")
}

/// The bounds of a range, such that the ordered map takes them: an upside-down range is empty.
fn bounds(range: &KeyRange) -> (Bound<&[u8]>, Bound<&[u8]>) {
    let start = range.start.as_ref();
    match &range.end {
        None => (Bound::Included(start), Bound::Included(start)),
        Some(end) if end.as_ref() == b"\0" => (Bound::Included(start), Bound::Unbounded),
        Some(end) if end.as_ref() <= start => (Bound::Included(start), Bound::Excluded(start)),
        Some(end) => (Bound::Included(start), Bound::Excluded(end.as_ref())),
    }
}
