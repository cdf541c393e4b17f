//! Objects in the store: keys, values, and the one way to change them.
//!
//! Key: `/registry/<resource>[.<group>]/[<namespace>/]<name>`. Value: the object's JSON in its storage version, without
//! resourceVersion, which is the revision of the write. Every change is a compare-and-swap on that revision.

use std::{io::Write as _, sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, managed_fields, meta, status::Status};
use async_trait::async_trait;
use base::Clock;
use bytes::Bytes;
use etcd::{
    Compare, KeyRange, KeyValue, Kv, KvError, LeaseId, Op, OpResponse, RangeRequest, Revision, Txn,
};
use jiff::Timestamp;
use tokio::sync::Mutex;

/// How often a change is tried again when others change the object in between.
const MAX_ATTEMPTS: usize = 64;
/// Room for most objects as they are encoded.
const ENCODED_BYTES: usize = 8 << 10;
/// Objects that expire share a lease for so long, so that a burst of events does not make a burst of leases.
const LEASE_SHARED_FOR: Duration = Duration::from_secs(60);

/// An object as the store has it, with its resourceVersion.
#[derive(Clone, Debug)]
pub struct Stored {
    /// In storage version, with owned fields as text ([`managed_fields::read`]).
    pub object: Object,
    /// Revision of its last change.
    pub revision: Revision,
    /// What was written, if it was written just now: JSON without resourceVersion.
    written: Option<Bytes>,
}

impl Stored {
    /// As it stands at a revision.
    pub fn new(object: Object, revision: Revision) -> Self {
        Self {
            object,
            revision,
            written: None,
        }
    }

    /// For whoever is not on the way to the store: owned fields are trees.
    pub fn into_shown(self) -> Object {
        let mut object = self.object;
        managed_fields::spell_out(&mut object);
        object
    }

    /// As it was at its end.
    fn ended_at(mut self, revision: Revision) -> Self {
        meta::set_resource_version(&mut self.object, &revision.to_string());
        Self { revision, ..self }
    }

    /// The JSON of an object that was written just now, with its resourceVersion.
    pub fn json(&self) -> Option<Bytes> {
        with_version(self.written.as_ref()?, self.revision)
    }
}

/// What was written, with the resourceVersion that it has since.
fn with_version(written: &[u8], revision: Revision) -> Option<Bytes> {
    // Before it stand kind and apiVersion alone.
    let metadata = memchr::memmem::find(written, METADATA)?;
    let mut out = Vec::with_capacity(written.len() + VERSION_BYTES + 1);
    out.extend_from_slice(&written[..metadata]);
    write_json_from_metadata(&written[metadata..], revision, &mut out);
    out.push(b'\n');
    Some(out.into())
}

/// How metadata begin in an object's JSON.
pub const METADATA: &[u8] = b"\"metadata\":{";
/// Room for a resourceVersion.
pub const VERSION_BYTES: usize = "\"resourceVersion\":\"9223372036854775807\",".len();

/// Writes the rest of an object's JSON, which begins with [`METADATA`], and the resourceVersion as their first member.
pub fn write_json_from_metadata(json: &[u8], revision: Revision, out: &mut Vec<u8>) {
    let rest = &json[METADATA.len()..];
    out.reserve(json.len() + VERSION_BYTES);
    write_metadata_start(rest, revision, out);
    out.extend_from_slice(rest);
}

/// Writes what precedes the `rest` of the metadata and all that follows them: their beginning, with the resourceVersion.
pub fn write_metadata_start(rest: &[u8], revision: Revision, out: &mut Vec<u8>) {
    out.extend_from_slice(METADATA);
    // Writing to a vector does not fail.
    let _ = write!(out, "\"resourceVersion\":\"{revision}\"");
    if rest.first() != Some(&b'}') {
        out.push(b',');
    }
}

/// What an [`Update`] wants.
#[derive(Debug)]
pub enum Next {
    /// Write this, in storage version.
    Put(Object),
    /// Remove the object.
    Delete,
    /// Leave everything as it is.
    Keep,
}

/// What is kept of an object while its write is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All.
    Tree,
    /// The JSON alone. The trees of all the writes that wait for the disk are more than a processor's caches hold: one that is freed before
    /// makes room for the next while it is still there.
    Json,
}

/// An object as a request leaves it.
#[derive(Debug)]
pub enum Left {
    /// With its tree.
    Tree(Stored),
    /// What was written: JSON without resourceVersion.
    Json(Bytes, Revision),
}

impl Left {
    /// The JSON of an object that was written just now, with its resourceVersion, if the object begins as `head`; none if it would have to be
    /// encoded anew.
    pub fn json(&self, head: &[u8]) -> Option<Bytes> {
        let (written, revision) = match self {
            Self::Tree(stored) => (stored.written.as_ref()?, stored.revision),
            Self::Json(written, revision) => (written, *revision),
        };
        let shown = || with_version(written, revision);
        written.starts_with(head).then(shown)?
    }

    /// With its tree, which may have to grow again.
    pub fn into_stored(self) -> Result<Stored, Status> {
        match self {
            Self::Tree(stored) => Ok(stored),
            Self::Json(written, revision) => match managed_fields::read(&written) {
                Ok(object) => Ok(stamp(object, revision)),
                Err(error) => Err(Status::internal(error)),
            },
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// It stands so now.
    Written(Left),
    /// It is gone: how it was last, with the revision of its end.
    Deleted(Stored),
    /// Nothing was changed.
    Kept(Option<Stored>),
}

/// A change of one object: asked again with the newer state whenever the object changed underneath.
#[async_trait]
pub trait Update: Send {
    /// What to do, given the object as it is (`None`: there is none).
    async fn apply(&mut self, current: Option<&Stored>) -> Result<Next, Status>;
}

/// Hears what is about to be written: the watch cache, which has less to find out when it comes back.
pub trait Foresee: Send + Sync {
    /// This object, as these bytes, which a watch will hand out. The write may fail.
    fn foresee(&self, key: &Bytes, object: &Object, value: &Bytes);
}

/// Reads and changes objects in the store.
#[derive(Clone)]
pub struct ObjectStore {
    kv: Arc<dyn Kv>,
    cache: Arc<dyn Foresee>,
    lease: Arc<Mutex<Option<SharedLease>>>,
    clock: Clock,
}

struct SharedLease {
    id: LeaseId,
    ttl_seconds: i64,
    until: Timestamp,
}

impl std::fmt::Debug for ObjectStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ObjectStore").finish_non_exhaustive()
    }
}

impl ObjectStore {
    /// Over a store, whose changes come to `cache`.
    pub fn new(kv: Arc<dyn Kv>, cache: Arc<dyn Foresee>, clock: Clock) -> Self {
        Self {
            kv,
            cache,
            lease: Arc::default(),
            clock,
        }
    }

    /// The store itself.
    pub fn kv(&self) -> &dyn Kv {
        self.kv.as_ref()
    }

    /// The object at `key` now, past all caches.
    pub async fn get(&self, key: &Bytes) -> Result<Option<Stored>, Status> {
        let response = self
            .kv
            .range(RangeRequest::new(KeyRange::key(key.clone())))
            .await
            .map_err(status)?;
        response.kvs.first().map(decode).transpose()
    }

    /// Writes a new object; `None` if there is one already.
    pub async fn insert(
        &self,
        key: &Bytes,
        mut object: Object,
        ttl_seconds: Option<i64>,
        keep: Keep,
    ) -> Result<Option<Left>, Status> {
        meta::remove(&mut object, "resourceVersion");
        let value = self.encode_for(key, &object);
        let kept = keep.of(object);
        let lease = self.lease(ttl_seconds).await?;
        let txn = Txn {
            compare: vec![Compare::ModRevision(key.clone(), Revision(0))],
            success: vec![Op::Put {
                key: key.clone(),
                value: value.clone(),
                lease,
            }],
            failure: Vec::new(),
        };
        let response = self.kv.txn(txn).await.map_err(status)?;
        let left = || left(kept, value, response.revision);
        Ok(response.succeeded.then(left))
    }

    /// Changes the object at `key` as `update` says, in one step from the state it was shown to the state it asked for.
    ///
    /// `cached`, if given, is shown first; when it turns out stale, also by a refusal, `update` is asked again with the store's own state. `ttl_seconds`
    /// lets the object expire.
    pub async fn guaranteed_update(
        &self,
        key: &Bytes,
        resource: &GroupResource,
        cached: Option<Stored>,
        ttl_seconds: Option<i64>,
        keep: Keep,
        update: &mut dyn Update,
    ) -> Result<Outcome, Status> {
        let mut from_cache = cached.is_some();
        let mut current = match cached {
            Some(cached) => Some(cached),
            None => self.get(key).await?,
        };
        for _ in 0..MAX_ATTEMPTS {
            let next = match update.apply(current.as_ref()).await {
                Ok(next) => next,
                Err(status) if from_cache => {
                    let fresh = self.get(key).await?;
                    from_cache = false;
                    if fresh.as_ref().map(|s| s.revision) == current.as_ref().map(|s| s.revision) {
                        return Err(status);
                    }
                    current = fresh;
                    continue;
                }
                Err(status) => return Err(status),
            };
            let expected = current
                .as_ref()
                .map_or(Revision(0), |stored| stored.revision);
            let (op, written) = match next {
                // "Nothing to do" is true of what was looked at, which the cache may have had too long.
                Next::Keep if from_cache => {
                    let fresh = self.get(key).await?;
                    from_cache = false;
                    if fresh.as_ref().map(|s| s.revision) == current.as_ref().map(|s| s.revision) {
                        return Ok(Outcome::Kept(current));
                    }
                    current = fresh;
                    continue;
                }
                Next::Keep => return Ok(Outcome::Kept(current)),
                Next::Delete if current.is_none() => return Ok(Outcome::Kept(None)),
                Next::Delete => (Op::Delete(KeyRange::key(key.clone())), None),
                Next::Put(mut object) => {
                    meta::remove(&mut object, "resourceVersion");
                    let value = self.encode_for(key, &object);
                    let kept = keep.of(object);
                    let lease = self.lease(ttl_seconds).await?;
                    // Looked at no more, whatever comes of it: freed by the thread that made it, while what waits for the write may go on in another.
                    current = None;
                    (
                        Op::Put {
                            key: key.clone(),
                            value: value.clone(),
                            lease,
                        },
                        Some((kept, value)),
                    )
                }
            };
            let response = self
                .kv
                .txn(Txn {
                    compare: vec![Compare::ModRevision(key.clone(), expected)],
                    success: vec![op],
                    failure: vec![Op::Range(RangeRequest::new(KeyRange::key(key.clone())))],
                })
                .await
                .map_err(status)?;
            if response.succeeded {
                let revision = response.revision;
                return Ok(match (written, current) {
                    (Some((kept, value)), _) => Outcome::Written(left(kept, value, revision)),
                    (None, Some(last)) => Outcome::Deleted(last.ended_at(revision)),
                    (None, None) => Outcome::Kept(None),
                });
            }
            from_cache = false;
            current = match response.responses.into_iter().next() {
                Some(OpResponse::Range(range)) => range.kvs.first().map(decode).transpose()?,
                _ => self.get(key).await?,
            };
        }
        Err(Status::server_timeout(resource, "update", 1))
    }

    /// What is to be written at `key`; the cache is told, if it can know it again.
    fn encode_for(&self, key: &Bytes, object: &Object) -> Bytes {
        let value = encode(object);
        if self.kv.shares_values(key) {
            self.cache.foresee(key, object, &value);
        }
        value
    }

    /// The lease for something that lives `ttl_seconds`, shared with what was written shortly before.
    async fn lease(&self, ttl_seconds: Option<i64>) -> Result<LeaseId, Status> {
        let Some(ttl_seconds) = ttl_seconds else {
            return Ok(LeaseId(0));
        };
        let now = self.clock.now();
        let mut shared = self.lease.lock().await;
        if let Some(lease) = shared.as_ref()
            && lease.ttl_seconds == ttl_seconds
            && now < lease.until
        {
            return Ok(lease.id);
        }
        // The lease outlives the last object that joins it by at least the object's own time.
        let sharing = LEASE_SHARED_FOR.as_secs() as i64;
        let id = self
            .kv
            .lease_grant(ttl_seconds + sharing)
            .await
            .map_err(status)?;
        let until = now.checked_add(LEASE_SHARED_FOR).unwrap_or(now);
        *shared = Some(SharedLease {
            id,
            ttl_seconds,
            until,
        });
        Ok(id)
    }
}

/// An object's JSON in the order in which it is stored and served: kind, apiVersion, metadata, then the rest. The watch cache relies on
/// it: what follows the apiVersion is the item of a list, as it stands. The answer is as long as its buffer, which lives as long as this version.
pub fn encode(object: &Object) -> Bytes {
    let mut out = Vec::with_capacity(ENCODED_BYTES);
    write_json(object, &mut out);
    out.into_boxed_slice().into()
}

/// Writes an object's JSON as [`encode`] does.
pub fn write_json(object: &Object, out: &mut Vec<u8>) {
    const HEAD: [&str; 3] = ["kind", "apiVersion", "metadata"];
    let head = HEAD.iter().filter_map(|key| object.get_key_value(*key));
    let rest = object
        .iter()
        .filter(|(key, _)| !HEAD.contains(&key.as_str()));
    managed_fields::write(head.chain(rest), out);
}

/// The object in a stored value, its resourceVersion filled in.
pub fn decode(value: &KeyValue) -> Result<Stored, Status> {
    let object = managed_fields::read(&value.value).map_err(|error| {
        Status::internal(format_args!("stored object {:?}: {error}", value.key))
    })?;
    Ok(stamp(object, value.mod_revision))
}

impl Keep {
    fn of(self, object: Object) -> Option<Object> {
        (self == Self::Tree).then_some(object)
    }
}

/// What was written at a revision.
fn left(kept: Option<Object>, written: Bytes, revision: Revision) -> Left {
    match kept {
        Some(object) => Left::Tree(Stored {
            written: Some(written),
            ..stamp(object, revision)
        }),
        None => Left::Json(written, revision),
    }
}

fn stamp(mut object: Object, revision: Revision) -> Stored {
    meta::set_resource_version(&mut object, &revision.to_string());
    Stored::new(object, revision)
}

/// What a client hears when the store refuses.
pub fn status(error: KvError) -> Status {
    match error {
        KvError::Compacted { .. } => {
            Status::expired("The resourceVersion for the provided list is too old.")
        }
        KvError::TooLarge { .. } => Status::unclassified("etcdserver: request is too large"),
        error @ KvError::Unavailable(_) => Status::timeout(error, 1),
        other => Status::unclassified(other),
    }
}
