//! The embedded store: MVCC in memory over a write-ahead log in one directory. For one server; several use a real etcd.
//!
//! ```text
//! callers ──► queue ──► writer thread: Store::apply → one frame, one fdatasync → publish → answers
//!                           │                                                     │
//! readers ──► Store (memory, at the durable revision)                 watch tasks, lease task
//! ```
//!
//! A pure core ([`Store`]) and thin shells around it: [`writer`] owns the log, [`maintain`] checkpoints and frees, [`watch`] delivers,
//! [`lease`] keeps time, [`recovery`] is the only way in.
//!
//! Invariants:
//! - nothing is seen, by reader or watcher, before it is durable;
//! - a revision that was seen is never given again; an acknowledged write is there after any crash;
//! - when the disk fails, the store refuses all later writes ([`KvError::Failed`]) and goes on serving reads;
//! - readers never wait for the disk;
//! - damage that no crash explains is refused at opening, with file and offset, and never dropped.

mod checkpoint;
mod disk;
mod error;
mod frame;
mod lease;
mod lock;
mod maintain;
mod range;
mod record;
mod recovery;
mod shared;
mod store;
mod wal;
mod watch;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
};

use async_trait::async_trait;
use base::{Clock, TaskGroup};
use bytes::Bytes;
pub use disk::{Disk, DiskFile, FileSystem};
pub use error::OpenError;
use lock::DirLock;
use shared::Shared;
pub use store::{Applied, Store};
use tokio::sync::{mpsc, oneshot};
use writer::{Answer, Command, Writer};

use crate::{
    Kv, KvError, LeaseId, Op, RangeRequest, RangeResponse, Revision, Txn, TxnResponse,
    WatchRequest, WatchStream,
};

/// etcd's default `--max-request-bytes`.
const MAX_REQUEST_BYTES: usize = 3 << 19;
/// etcd's longest lease, in seconds.
const MAX_LEASE_TTL: i64 = 9_000_000_000;

/// How an embedded store is to be.
#[derive(Clone)]
pub struct Config {
    /// The data directory; made if absent.
    pub dir: PathBuf,
    /// Larger requests are refused. Keys and values count.
    pub max_request_bytes: usize,
    /// A log segment is ended at this length.
    pub segment_bytes: u64,
    /// A checkpoint is made when the log is this long (and as long as the checkpoint before).
    pub checkpoint_bytes: u64,
    /// When past versions take more memory than this, the older half of the history is forgotten, whether anybody compacts or not…
    pub history_bytes: u64,
    /// …and likewise when it spans more revisions than this.
    pub history_revisions: usize,
    /// Where the files are.
    pub disk: Arc<dyn Disk>,
}

impl Config {
    /// The usual settings, in `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            max_request_bytes: MAX_REQUEST_BYTES,
            segment_bytes: 16 << 20,
            checkpoint_bytes: 64 << 20,
            history_bytes: 64 << 20,
            history_revisions: 1 << 18,
            disk: Arc::new(FileSystem),
        }
    }
}

/// How a store is.
#[derive(Clone, Debug)]
pub struct Status {
    /// The current revision.
    pub revision: Revision,
    /// The oldest that can be read; 0 when nothing has been compacted.
    pub compacted: Revision,
    /// Keys in memory, deleted ones with history among them.
    pub keys: usize,
    /// Bytes of all versions of all keys in memory.
    pub size: u64,
    /// Bytes of the log on disk.
    pub log_bytes: u64,
    /// Bytes of the newest checkpoint on disk; 0 when there is none, or none was made since the start.
    pub checkpoint_bytes: u64,
    /// Why the store takes no writes, if it does not.
    pub failure: Option<KvError>,
}

/// The embedded store. Its threads and tasks live until its task group is cancelled; the directory is free when the group has ended.
pub struct Embedded {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl Embedded {
    /// Opens a data directory, or makes it. Reads all of it before it answers, so call it where blocking is allowed; it needs a
    /// tokio runtime around it. The store stops when `tasks` is cancelled.
    pub fn open(config: Config, clock: Clock, tasks: &TaskGroup) -> Result<Arc<Self>, OpenError> {
        let lock = DirLock::take(&config.dir)?;
        let recovered = recovery::recover(config.disk.clone(), &config.dir, &clock)?;
        let log_bytes = recovered.wal.bytes();
        let shared = Shared::new(
            config,
            clock,
            tasks.clone(),
            recovered.store,
            recovered.identity,
        );
        let shared = Arc::new(shared);
        shared.log_bytes.store(log_bytes, Ordering::Relaxed);

        let (commands, queue) = mpsc::channel(writer::QUEUE);
        let (maintain, wake) = std::sync::mpsc::sync_channel(1);
        let writer = Writer {
            shared: shared.clone(),
            wal: recovered.wal,
            commands: queue,
            maintain,
            lock,
            rotate_at: shared.limits.segment_bytes,
        };
        let maintenance = maintain::Maintenance {
            shared: shared.clone(),
            commands: commands.clone(),
            wake,
        };
        let writer = start_thread("etcd-writer", &shared, move || writer.run())?;
        let maintenance = start_thread("etcd-maintain", &shared, move || maintenance.run())?;

        let (stop, stopped) = (shared.clone(), commands.clone());
        tasks.spawn("etcd", async move {
            stop.tasks.token().cancelled().await;
            stop.stopping.store(true, Ordering::Relaxed);
            let _ = stopped.send(Command::Stop).await;
            let _ = writer.await;
            let _ = maintenance.await;
        });
        let progress = shared.clone();
        tasks.spawn_cancellable(
            "etcd-progress",
            async move { progress.hub.run_progress().await },
        );
        let store = Arc::new(Self { shared, commands });
        tasks.spawn_cancellable("etcd-leases", expire_leases(store.clone()));
        Ok(store)
    }

    /// Writes all of the store at its current revision to a new file at `path`, while it serves.
    pub async fn snapshot(&self, path: impl Into<PathBuf>) -> Result<Revision, OpenError> {
        let (shared, commands, path) = (self.shared.clone(), self.commands.clone(), path.into());
        let done = tokio::task::spawn_blocking(move || {
            let _gate = shared
                .gate
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let mark = maintain::ask(&commands, Command::Mark)?;
            checkpoint::write(&*shared.disk, &path, &mark, &shared.store, &shared.stopping)?;
            Ok(mark.revision)
        });
        match done.await {
            Ok(result) => result,
            Err(error) => Err(OpenError::Stopped(KvError::Unavailable(error.to_string()))),
        }
    }

    /// Makes the new data directory `dir` from a snapshot, and answers the revision it is at. The snapshot is checked whole first.
    pub fn restore(snapshot: &Path, dir: &Path, clock: &Clock) -> Result<Revision, OpenError> {
        recovery::restore(&FileSystem, snapshot, dir, clock)
    }

    /// How the store is.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// A number that tells this store from others; the same for the life of the data directory.
    pub fn identity(&self) -> u32 {
        self.shared.identity
    }

    /// A checksum of all that can be seen at `revision` (now, if `None`): equal for stores that hold the same.
    pub fn hash(&self, revision: Option<Revision>) -> u32 {
        self.shared
            .read()
            .hash(revision.unwrap_or_else(|| self.shared.durable()))
    }

    /// Grants a lease with an id of the caller's choice.
    pub async fn lease_grant_as(
        &self,
        id: Option<LeaseId>,
        ttl_seconds: i64,
    ) -> Result<LeaseId, KvError> {
        if ttl_seconds > MAX_LEASE_TTL {
            return Err(KvError::Invalid("too large lease TTL".into()));
        }
        self.ask(|answer| Command::Grant(id, ttl_seconds.max(1), answer))
            .await
    }

    /// A lease's granted time, what is left of it, both in seconds, and its keys.
    pub fn lease_time_to_live(&self, id: LeaseId) -> Option<(i64, i64, Vec<Bytes>)> {
        let (granted, left) = self.shared.deadlines.time_to_live(id)?;
        Some((granted, left, self.shared.read().lease_keys(id)?))
    }

    /// All leases.
    pub fn leases(&self) -> Vec<LeaseId> {
        self.shared
            .read()
            .leases()
            .into_iter()
            .map(|(id, _)| id)
            .collect()
    }

    async fn ask<T>(&self, command: impl FnOnce(Answer<T>) -> Command) -> Result<T, KvError> {
        let stopped = || KvError::Unavailable("it is stopping".into());
        let (answer, reply) = oneshot::channel();
        self.commands
            .send(command(answer))
            .await
            .map_err(|_| stopped())?;
        reply.await.map_err(|_| stopped())?
    }
}

#[async_trait]
impl Kv for Embedded {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, KvError> {
        self.shared.range(&request).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnResponse, KvError> {
        let (size, limit) = (size(&txn), self.shared.limits.request_bytes);
        if size > limit {
            return Err(KvError::TooLarge { size, limit });
        }
        self.ask(|answer| Command::Txn(txn, answer)).await
    }

    async fn watch(&self, request: WatchRequest) -> Result<WatchStream, KvError> {
        watch::watch(&self.shared, request)
    }

    fn shares_values(&self, _key: &[u8]) -> bool {
        true
    }

    async fn revision(&self) -> Result<Revision, KvError> {
        Ok(self.shared.durable())
    }

    async fn size_bytes(&self) -> Result<Option<u64>, KvError> {
        let status = self.status();
        Ok(Some(status.log_bytes + status.checkpoint_bytes))
    }

    async fn compact(&self, revision: Revision) -> Result<(), KvError> {
        self.ask(|answer| Command::Compact(revision, answer)).await
    }

    async fn lease_grant(&self, ttl_seconds: i64) -> Result<LeaseId, KvError> {
        self.lease_grant_as(None, ttl_seconds).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<i64, KvError> {
        self.shared.deadlines.renew(lease)
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.ask(|answer| Command::Revoke(lease, answer)).await
    }
}

/// Ends leases when their time is over.
async fn expire_leases(store: Arc<Embedded>) {
    loop {
        for id in store.shared.deadlines.expired().await {
            match store.lease_revoke(id).await {
                Ok(()) | Err(KvError::LeaseNotFound(_)) => {}
                // Failed or stopping, and either way for good; the lease is there again after the next start.
                Err(error) => {
                    tracing::warn!(%error, "leases do not expire any more");
                    return;
                }
            }
        }
    }
}

/// Bytes of keys and values that a transaction brings.
fn size(txn: &Txn) -> usize {
    let ops = txn.success.iter().chain(&txn.failure);
    ops.map(|op| match op {
        Op::Put { key, value, .. } => key.len() + value.len(),
        Op::Delete(range) | Op::Range(RangeRequest { range, .. }) => {
            range.start.len() + range.end.as_ref().map_or(0, Bytes::len)
        }
    })
    .sum()
}

/// Starts a thread; what is answered resolves when it has ended, however it ended.
fn start_thread(
    name: &str,
    shared: &Shared,
    body: impl FnOnce() + Send + 'static,
) -> Result<oneshot::Receiver<()>, OpenError> {
    let (done, ended) = oneshot::channel::<()>();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _done = done;
            body();
        });
    thread.map_err(|error| OpenError::io("starting a thread for", &shared.dir, error))?;
    Ok(ended)
}
