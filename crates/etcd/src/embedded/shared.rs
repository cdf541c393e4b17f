//! What the threads and tasks of an embedded store share.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use base::{Clock, TaskGroup};
use bytes::Bytes;

use super::{
    Config, Status, disk::Disk, lease::Deadlines, maintain::Gate, record::Record, store::Store,
    watch::Hub,
};
use crate::{KvError, LeaseId, Revision};

/// The bounds of [`Config`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) request_bytes: usize,
    pub(super) segment_bytes: u64,
    checkpoint_bytes: u64,
    history_bytes: u64,
    history_revisions: usize,
}

/// See the module's head. The lock on `store` is held for one transaction, one read or one page at a time, never across I/O.
pub(super) struct Shared {
    pub(super) store: RwLock<Store>,
    /// The last revision on disk: what readers may see. Only the writer raises it.
    durable: AtomicI64,
    pub(super) hub: Hub,
    pub(super) deadlines: Deadlines,
    failure: OnceLock<KvError>,
    pub(super) gate: Gate,
    pub(super) stopping: AtomicBool,
    pub(super) log_bytes: AtomicU64,
    checkpoint_bytes: AtomicU64,
    /// The log's length at which a checkpoint is next tried, after one failed.
    postponed_to: AtomicU64,
    /// The compaction whose garbage is out of memory.
    pub(super) scrubbed: AtomicI64,
    /// The compaction whose garbage is out of the checkpoint.
    checkpointed: AtomicI64,
    last_lease: AtomicI64,
    pub(super) limits: Limits,
    pub(super) identity: u32,
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) tasks: TaskGroup,
}

impl Shared {
    pub(super) fn new(
        config: Config,
        clock: Clock,
        tasks: TaskGroup,
        store: Store,
        identity: u32,
    ) -> Self {
        let lease_seed = clock.now().as_microsecond();
        let deadlines = Deadlines::new(clock);
        for (id, ttl) in store.leases() {
            deadlines.start(id, ttl);
        }
        Self {
            durable: AtomicI64::new(store.head().0),
            scrubbed: AtomicI64::new(store.compacted().0),
            checkpointed: AtomicI64::new(store.compacted().0),
            store: RwLock::new(store),
            hub: Hub::default(),
            deadlines,
            failure: OnceLock::new(),
            gate: Gate::default(),
            stopping: AtomicBool::new(false),
            log_bytes: AtomicU64::new(0),
            checkpoint_bytes: AtomicU64::new(0),
            postponed_to: AtomicU64::new(0),
            last_lease: AtomicI64::new(lease_seed),
            limits: Limits {
                request_bytes: config.max_request_bytes,
                segment_bytes: config.segment_bytes,
                checkpoint_bytes: config.checkpoint_bytes,
                history_bytes: config.history_bytes,
                history_revisions: config.history_revisions,
            },
            identity,
            dir: config.dir,
            disk: config.disk,
            tasks,
        }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last revision that anyone may see.
    pub(super) fn durable(&self) -> Revision {
        Revision(self.durable.load(Ordering::Acquire))
    }

    /// Everything applied is durable now: lets it be seen. Only the writer calls this.
    pub(super) fn publish(&self) {
        let before = self.durable().0;
        let changed: Vec<Bytes> = {
            let store = self.read();
            let revisions = before + 1..=store.head().0;
            self.durable.store(store.head().0, Ordering::Release);
            revisions
                .flat_map(|revision| store.changed(revision))
                .cloned()
                .collect()
        };
        if !changed.is_empty() {
            self.hub.publish(&changed);
        }
    }

    /// Why no writes are taken, if so.
    pub(super) fn failure(&self) -> Option<KvError> {
        self.failure.get().cloned()
    }

    /// The disk has refused. The first reason is kept.
    pub(super) fn fail(&self, failure: KvError) {
        let _ = self.failure.set(failure);
    }

    /// An id that no lease has.
    pub(super) fn new_lease_id(&self, store: &Store) -> LeaseId {
        loop {
            let id = LeaseId(self.last_lease.fetch_add(1, Ordering::Relaxed) & i64::MAX);
            if id.0 != 0 && !store.has_lease(id) {
                return id;
            }
        }
    }

    /// Forgets the older half of a history that has outgrown its bounds; what the log must say of it.
    pub(super) fn bound_history(&self) -> Option<Record> {
        let Limits {
            history_bytes,
            history_revisions,
            ..
        } = self.limits;
        let durable = self.durable();
        let half = self.read().overfull(history_bytes, history_revisions)?;
        // Nobody else compacts between the two locks: only the writer does, and this is called by it.
        self.write().compact(half.min(durable), durable).ok()
    }

    /// Whether the log is so long, or so much of the files has been forgotten, that a checkpoint is worth its while.
    pub(super) fn checkpoint_due(&self) -> bool {
        let log = self.log_bytes.load(Ordering::Relaxed);
        let checkpoint = self.checkpoint_bytes.load(Ordering::Relaxed);
        if self.failure.get().is_some() || log < self.postponed_to.load(Ordering::Relaxed) {
            return false;
        }
        if log > self.limits.checkpoint_bytes.max(checkpoint) {
            return true;
        }
        let scrubbed = self.scrubbed.load(Ordering::Acquire);
        scrubbed > self.checkpointed.load(Ordering::Relaxed)
            && log + checkpoint > self.limits.checkpoint_bytes / 8 + 2 * self.read().size()
    }

    /// A checkpoint of so many bytes stands.
    pub(super) fn note_checkpoint(&self, bytes: u64) {
        self.checkpoint_bytes.store(bytes, Ordering::Relaxed);
        self.checkpointed
            .store(self.scrubbed.load(Ordering::Acquire), Ordering::Relaxed);
        self.postponed_to.store(0, Ordering::Relaxed);
    }

    /// A checkpoint failed: the next one is tried when the log has grown by a quarter of what makes one due.
    pub(super) fn postpone_checkpoint(&self) {
        let log = self.log_bytes.load(Ordering::Relaxed);
        self.postponed_to
            .store(log + self.limits.checkpoint_bytes / 4, Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> Status {
        let store = self.read();
        Status {
            revision: self.durable(),
            compacted: store.compacted(),
            keys: store.key_count(),
            size: store.size(),
            log_bytes: self.log_bytes.load(Ordering::Relaxed),
            checkpoint_bytes: self.checkpoint_bytes.load(Ordering::Relaxed),
            failure: self.failure(),
        }
    }
}
