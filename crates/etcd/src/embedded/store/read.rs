//! Reading the store at a revision: ranges, the changes between two revisions, and pages for checkpoints.

use std::ops::Bound;

use bytes::Bytes;

use super::{Store, bounds};
use crate::{
    Change, KeyRange, KeyValue, KvError, RangeRequest, RangeResponse, Revision, WatchBatch,
    embedded::record::Version,
};

/// Revisions looked through under one lock, whether they hold anything of interest or not.
const SCAN: i64 = 4096;

/// A run of changes, for a watcher.
pub(in crate::embedded) struct Page {
    pub(in crate::embedded) batches: Vec<WatchBatch>,
    /// Where to read on.
    pub(in crate::embedded) next: Revision,
}

impl Store {
    /// Reads a range for a client that may see everything up to `now`.
    pub fn range(&self, request: &RangeRequest, now: Revision) -> Result<RangeResponse, KvError> {
        self.check_range(request, now)?;
        Ok(self.read(request, now))
    }

    /// Reads a range that has been checked.
    pub(super) fn read(&self, request: &RangeRequest, now: Revision) -> RangeResponse {
        let mut response = empty(now);
        self.read_part(request, None, usize::MAX, &mut response);
        response
    }

    /// Reads on in a range, `keys` keys at most, behind `after`. Answers where to read on, if that was not all. The revision read
    /// at must be one and the same, and not compacted, for all parts.
    pub(in crate::embedded) fn read_part(
        &self,
        request: &RangeRequest,
        after: Option<&Bytes>,
        keys: usize,
        response: &mut RangeResponse,
    ) -> Option<Bytes> {
        let at = read_at(request, response.revision).0;
        let limit = match request.limit {
            0 => usize::MAX,
            limit => limit,
        };
        let (start, end) = bounds(&request.range);
        let start = after.map_or(start, |after| Bound::Excluded(after.as_ref()));
        for (visited, (key, versions)) in self.keys.range::<[u8], _>((start, end)).enumerate() {
            let visible = at_revision(versions, at).filter(|it| !it.is_deletion());
            if let Some(version) = visible {
                response.count += 1;
                if !request.count_only && response.kvs.len() < limit {
                    let mut kv = version.key_value(key);
                    if request.keys_only {
                        kv.value = Bytes::new();
                    }
                    response.kvs.push(kv);
                } else {
                    response.more = !request.count_only;
                }
            }
            if visited + 1 == keys && request.range.end.is_some() {
                return Some(key.clone());
            }
        }
        None
    }

    /// The changes to `range` from revision `from` up to and including `to`; about `limit` of them, but
    /// whole revisions. It may stop earlier, even with nothing found: the answer says where to read on.
    pub(in crate::embedded) fn changes(
        &self,
        range: &KeyRange,
        from: Revision,
        to: Revision,
        limit: usize,
    ) -> Result<Page, KvError> {
        if from.0 < self.compacted {
            return Err(KvError::Compacted {
                requested: from,
                compacted: Revision(self.compacted),
            });
        }
        let mut batches = Vec::new();
        let mut found = 0;
        let mut revision = from.0.max(self.history_start);
        let to = to.0.min(revision + SCAN);
        while revision <= to && found < limit {
            let changes: Vec<Change> = self
                .changed(revision)
                .iter()
                .filter(|key| range.contains(key))
                .map(|key| self.change(key, revision))
                .collect();
            if !changes.is_empty() {
                found += changes.len();
                batches.push(WatchBatch {
                    revision: Revision(revision),
                    changes,
                });
            }
            revision += 1;
        }
        Ok(Page {
            batches,
            next: Revision(revision.max(from.0)),
        })
    }

    /// The keys that a revision changed.
    pub(in crate::embedded) fn changed(&self, revision: i64) -> &[Bytes] {
        let entry = usize::try_from(revision - self.history_start).ok();
        entry
            .and_then(|entry| self.history.get(entry))
            .map_or(&[], |keys| keys.as_slice())
    }

    fn change(&self, key: &Bytes, revision: i64) -> Change {
        let versions = self
            .keys
            .get(key)
            .expect("a key in the history is in the map");
        let place = versions.partition_point(|version| version.mod_revision < revision);
        let kv = |version: &Version| -> Option<KeyValue> {
            (!version.is_deletion()).then(|| version.key_value(key))
        };
        Change {
            key: key.clone(),
            revision: Revision(revision),
            new: versions.get(place).and_then(kv),
            old: place
                .checked_sub(1)
                .and_then(|before| kv(&versions[before])),
        }
    }

    /// The keys after `after` with all their versions up to `revision`, about `bytes` of them. Empty at the end.
    pub(in crate::embedded) fn page(
        &self,
        after: Option<&Bytes>,
        revision: Revision,
        bytes: usize,
    ) -> (Vec<(Bytes, Vec<Version>)>, Option<Bytes>) {
        let start = after.map_or(Bound::Unbounded, |key| Bound::Excluded(key.as_ref()));
        let mut page = Vec::new();
        let mut seen = 0;
        let mut last = None;
        for (key, versions) in self.keys.range::<[u8], _>((start, Bound::Unbounded)) {
            if seen >= bytes {
                break;
            }
            let end = versions.partition_point(|version| version.mod_revision <= revision.0);
            seen += versions[..end]
                .iter()
                .map(|it| it.value.len() + 64)
                .sum::<usize>()
                + 64;
            last = Some(key.clone());
            if end > 0 {
                page.push((key.clone(), versions[..end].to_vec()));
            }
        }
        (page, last)
    }

    /// A checksum over all that can be seen at `revision`.
    pub(in crate::embedded) fn hash(&self, revision: Revision) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        for (key, versions) in &self.keys {
            if let Some(version) = at_revision(versions, revision.0).filter(|it| !it.is_deletion())
            {
                hasher.update(&(key.len() as u64).to_le_bytes());
                hasher.update(key);
                for number in [
                    version.create_revision,
                    version.mod_revision,
                    version.version,
                    version.lease.0,
                ] {
                    hasher.update(&number.to_le_bytes());
                }
                hasher.update(&(version.value.len() as u64).to_le_bytes());
                hasher.update(&version.value);
            }
        }
        hasher.finalize()
    }
}

/// The revision that a request reads at, when `now` is the last. As in etcd, 0 or less is now.
pub(in crate::embedded) fn read_at(request: &RangeRequest, now: Revision) -> Revision {
    request
        .revision
        .filter(|revision| revision.0 > 0)
        .unwrap_or(now)
}

/// An answer to fill.
pub(in crate::embedded) fn empty(now: Revision) -> RangeResponse {
    RangeResponse {
        revision: now,
        kvs: Vec::new(),
        more: false,
        count: 0,
    }
}

/// The version that a reader at `revision` sees, deletions too.
fn at_revision(versions: &[Version], revision: i64) -> Option<&Version> {
    let place = versions.partition_point(|version| version.mod_revision <= revision);
    place.checked_sub(1).map(|place| &versions[place])
}
