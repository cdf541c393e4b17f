//! The etcd v3 API as generated from `proto/`, and what both its client and its server need.

use bytes::Bytes;

use crate::{KeyRange, KeyValue, LeaseId, Revision};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub(crate) mod mvccpb {
    tonic::include_proto!("mvccpb");
}
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub(crate) mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

impl From<mvccpb::KeyValue> for KeyValue {
    fn from(kv: mvccpb::KeyValue) -> Self {
        Self {
            // Copied: a slice would keep the whole message that it came in, for as long as one value of it lives.
            key: Bytes::copy_from_slice(&kv.key),
            value: Bytes::copy_from_slice(&kv.value),
            create_revision: Revision(kv.create_revision),
            mod_revision: Revision(kv.mod_revision),
            version: kv.version,
            lease: LeaseId(kv.lease),
        }
    }
}

impl From<KeyValue> for mvccpb::KeyValue {
    fn from(kv: KeyValue) -> Self {
        Self {
            key: kv.key,
            value: kv.value,
            create_revision: kv.create_revision.0,
            mod_revision: kv.mod_revision.0,
            version: kv.version,
            lease: kv.lease.0,
        }
    }
}

/// `range_end` as the wire has it: empty for a single key.
pub(crate) fn range_end(range: &KeyRange) -> Bytes {
    range.end.clone().unwrap_or_default()
}

/// A range as the wire has it.
pub(crate) fn key_range(key: Bytes, range_end: Bytes) -> KeyRange {
    KeyRange {
        start: key,
        end: (!range_end.is_empty()).then_some(range_end),
    }
}
