//! The store's contract: what the API server asks of any etcd.
//!
//! Semantics are etcd v3's (<https://etcd.io/docs/v3.5/learning/api/>): one global revision, each write
//! transaction one higher; a key keeps its versions until compaction; a watch may start at any uncompacted
//! revision. `testing::suite` is the executable form of this contract; every implementation passes it.

use std::fmt;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;

/// A point in the store's history. Revision 1 is the empty store; the first write makes 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub i64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies a lease; 0 is "no lease".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaseId(pub i64);

/// One version of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// The value, shared with the store: cloning copies no data.
    pub value: Bytes,
    /// Revision at which the key came into being (again).
    pub create_revision: Revision,
    /// Revision of this version.
    pub mod_revision: Revision,
    /// 1 at creation, one more at each put since.
    pub version: i64,
    /// The lease the key hangs on.
    pub lease: LeaseId,
}

/// Which keys: `[start, end)`, in byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// First key.
    pub start: Bytes,
    /// One past the last; `None` is the single key `start`.
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// The single key `key`.
    pub fn key(key: impl Into<Bytes>) -> Self {
        Self {
            start: key.into(),
            end: None,
        }
    }

    /// All keys that begin with `prefix`. An empty prefix is the whole key space.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start: Bytes = prefix.into();
        let mut end = start.to_vec();
        while let Some(last) = end.last_mut() {
            if *last < 0xff {
                *last += 1;
                return Self {
                    start,
                    end: Some(end.into()),
                };
            }
            end.pop();
        }
        // No byte can be raised: to the end of the key space, which etcd writes as "\0".
        let start = if start.is_empty() {
            Bytes::from_static(b"\0")
        } else {
            start
        };
        Self {
            start,
            end: Some(Bytes::from_static(b"\0")),
        }
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => key == self.start,
            Some(end) if end.as_ref() == b"\0" => key >= self.start.as_ref(),
            Some(end) => key >= self.start.as_ref() && key < end.as_ref(),
        }
    }
}

/// A read.
#[derive(Clone, Debug)]
pub struct RangeRequest {
    /// Which keys.
    pub range: KeyRange,
    /// At which revision; `None` is now (linearizable).
    pub revision: Option<Revision>,
    /// At most so many; 0 is all.
    pub limit: usize,
    /// Leave out the values.
    pub keys_only: bool,
    /// Count, return no keys.
    pub count_only: bool,
}

impl RangeRequest {
    /// The whole of `range`, now.
    pub fn new(range: KeyRange) -> Self {
        Self {
            range,
            revision: None,
            limit: 0,
            keys_only: false,
            count_only: false,
        }
    }
}

/// What a read gives.
#[derive(Clone, Debug)]
pub struct RangeResponse {
    /// The store's revision when it answered (not the revision asked for).
    pub revision: Revision,
    /// In ascending key order.
    pub kvs: Vec<KeyValue>,
    /// Whether `limit` cut the answer.
    pub more: bool,
    /// How many keys the range holds, whatever `limit` says.
    pub count: u64,
}

/// A condition of a transaction.
#[derive(Clone, Debug)]
pub enum Compare {
    /// The key's mod revision is this one; `Revision(0)` says the key is absent.
    ModRevision(Bytes, Revision),
    /// The key's create revision is this one; `Revision(0)` says the key is absent.
    CreateRevision(Bytes, Revision),
    /// The key's version is this one; 0 says the key is absent.
    Version(Bytes, i64),
    /// The key's value is this one; an absent key fails.
    Value(Bytes, Bytes),
}

/// An operation of a transaction.
#[derive(Clone, Debug)]
pub enum Op {
    /// Write a value.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
        /// The lease to hang it on.
        lease: LeaseId,
    },
    /// Remove keys.
    Delete(KeyRange),
    /// Read, as of before this transaction's writes that follow it.
    Range(RangeRequest),
}

/// What an operation gives, in the order of the operations.
#[derive(Clone, Debug)]
pub enum OpResponse {
    /// Of a put: what was there before.
    Put(Option<KeyValue>),
    /// Of a delete: what was removed.
    Delete(Vec<KeyValue>),
    /// Of a range.
    Range(RangeResponse),
}

/// If all of `compare` hold then `success`, else `failure`: in one step. A key is written at most once in a transaction.
#[derive(Clone, Debug, Default)]
pub struct Txn {
    /// The conditions.
    pub compare: Vec<Compare>,
    /// Done if they hold.
    pub success: Vec<Op>,
    /// Done if one does not.
    pub failure: Vec<Op>,
}

/// What a transaction gives.
#[derive(Clone, Debug)]
pub struct TxnResponse {
    /// The store's revision after it; for one that wrote, the revision of its writes.
    pub revision: Revision,
    /// Which branch was taken.
    pub succeeded: bool,
    /// The answers of that branch's operations.
    pub responses: Vec<OpResponse>,
}

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// The revision of the change.
    pub revision: Revision,
    /// The version now; `None` if it was deleted.
    pub new: Option<KeyValue>,
    /// The version before, if there was one and it is not compacted.
    pub old: Option<KeyValue>,
}

/// What to watch.
#[derive(Clone, Debug)]
pub struct WatchRequest {
    /// Which keys.
    pub range: KeyRange,
    /// The first revision of interest (inclusive); `None` is the next one.
    pub start: Option<Revision>,
    /// How many batches may wait for the watcher. One that falls further behind loses nothing: delivery stops and goes on from
    /// the history when there is room, or ends with [`KvError::Compacted`] when that has gone.
    pub buffer: usize,
}

/// What a watcher receives. All changes of a revision are in the same batch; batches ascend.
#[derive(Clone, Debug)]
pub struct WatchBatch {
    /// Everything up to and including this revision has been delivered. A batch without changes is a progress notice.
    pub revision: Revision,
    /// Changes in the order they were made.
    pub changes: Vec<Change>,
}

/// A watch under way. Dropping it ends it. The first item of the stream may be a progress notice saying that the watch stands.
pub type WatchStream = mpsc::Receiver<Result<WatchBatch, KvError>>;

/// Why a store refused. Retrying helps where [`KvError::is_retryable`] says so.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KvError {
    /// The revision asked for has been compacted.
    #[error("mvcc: required revision {requested} has been compacted; the oldest is {compacted}")]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest that is still there.
        compacted: Revision,
    },
    /// The revision asked for has not been reached yet.
    #[error(
        "mvcc: required revision {requested} is a future revision; the current one is {current}"
    )]
    FutureRevision {
        /// The revision asked for.
        requested: Revision,
        /// The store's.
        current: Revision,
    },
    /// No such lease.
    #[error("requested lease {0:?} not found")]
    LeaseNotFound(LeaseId),
    /// The request is over a bound of the store.
    #[error("request is too large: {size} bytes, {limit} allowed")]
    TooLarge {
        /// What was sent.
        size: usize,
        /// What is taken.
        limit: usize,
    },
    /// The request contradicts itself.
    #[error("invalid request: {0}")]
    Invalid(String),
    /// The disk refused; nothing of the request was kept, and the store takes no further writes.
    #[error("store failed while {operation}: {message}")]
    Failed {
        /// What it was doing.
        operation: &'static str,
        /// What the system said.
        message: String,
    },
    /// The store cannot be reached or is stopping; whether a write was applied is unknown.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}

impl KvError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A versioned key-value store.
///
/// Every method is safe to cancel by dropping its future; a write whose future is dropped may or may not happen.
#[async_trait]
pub trait Kv: Send + Sync + 'static {
    /// Reads a range.
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, KvError>;
    /// Runs a transaction. When it answers, the writes are durable.
    async fn txn(&self, txn: Txn) -> Result<TxnResponse, KvError>;
    /// Whether a watch reaches whatever [`Kv::revision`] has answered, by a progress notice where nothing in its range changed. Who follows a
    /// store that does not must ask the store itself when it wants to know the present.
    fn tells_progress(&self) -> bool {
        true
    }
    /// Whether a live watch hands out the very buffer that is put at a key, which so may be known by its address.
    fn shares_values(&self, _key: &[u8]) -> bool {
        false
    }
    /// Opens a watch.
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, KvError>;
    /// The current revision, linearizable.
    async fn revision(&self) -> Result<Revision, KvError>;
    /// How much the store takes on disk; `None` where it does not say.
    async fn size_bytes(&self) -> Result<Option<u64>, KvError> {
        Ok(None)
    }
    /// Forgets history before `revision`, which itself stays readable.
    async fn compact(&self, revision: Revision) -> Result<(), KvError>;
    /// Grants a lease of `ttl_seconds` seconds (at least 1).
    async fn lease_grant(&self, ttl_seconds: i64) -> Result<LeaseId, KvError>;
    /// Renews a lease; answers its time to live in seconds.
    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<i64, KvError>;
    /// Ends a lease and removes its keys.
    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), KvError>;
}
