//! What a request must be, checked before anything is done. The wording is etcd's.

use std::collections::HashSet;

use bytes::Bytes;

use super::Store;
use crate::{KeyRange, KvError, LeaseId, Op, RangeRequest, Revision, Txn};

/// etcd's `--max-txn-ops`, per branch. Kubernetes never nears it.
const MAX_TXN_OPS: usize = 128;

impl Store {
    /// Whether a transaction may run. Both branches are checked, whichever will be taken.
    pub(super) fn check(&self, txn: &Txn) -> Result<(), KvError> {
        if txn
            .compare
            .len()
            .max(txn.success.len())
            .max(txn.failure.len())
            > MAX_TXN_OPS
        {
            return Err(KvError::Invalid(
                "too many operations in txn request".into(),
            ));
        }
        for ops in [&txn.success, &txn.failure] {
            check_written_once(ops)?;
            for op in ops {
                match op {
                    Op::Put { key, lease, .. } => {
                        check_key(key)?;
                        if *lease != LeaseId::default() && !self.has_lease(*lease) {
                            return Err(KvError::LeaseNotFound(*lease));
                        }
                    }
                    Op::Delete(range) => check_key(&range.start)?,
                    Op::Range(request) => self.check_range(request, Revision(self.head))?,
                }
            }
        }
        Ok(())
    }

    /// Whether a range may be read when `now` is the last revision.
    pub(in crate::embedded) fn check_range(
        &self,
        request: &RangeRequest,
        now: Revision,
    ) -> Result<(), KvError> {
        check_key(&request.range.start)?;
        match request.revision {
            Some(requested) if requested > now => Err(KvError::FutureRevision {
                requested,
                current: now,
            }),
            Some(requested) if requested.0 > 0 && requested.0 < self.compacted => {
                Err(KvError::Compacted {
                    requested,
                    compacted: Revision(self.compacted),
                })
            }
            _ => Ok(()),
        }
    }
}

fn check_key(key: &Bytes) -> Result<(), KvError> {
    if key.is_empty() {
        return Err(KvError::Invalid("key is not provided".into()));
    }
    Ok(())
}

/// Two deletions may overlap, as in etcd: the second finds nothing.
fn check_written_once(ops: &[Op]) -> Result<(), KvError> {
    let mut put: HashSet<&[u8]> = HashSet::new();
    let mut deleted: Vec<&KeyRange> = Vec::new();
    for op in ops {
        match op {
            Op::Put { key, .. } => {
                if !put.insert(key) {
                    return Err(KvError::Invalid(
                        "duplicate key given in txn request".into(),
                    ));
                }
            }
            Op::Delete(range) => deleted.push(range),
            Op::Range(_) => {}
        }
    }
    if deleted
        .iter()
        .any(|range| put.iter().any(|key| range.contains(key)))
    {
        return Err(KvError::Invalid(
            "duplicate key given in txn request".into(),
        ));
    }
    Ok(())
}
