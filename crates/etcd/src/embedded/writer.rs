//! The writer: one thread that owns the log. It takes all commands that wait, runs them against the memory at the head, writes what
//! they did as one frame, makes it durable by one `fdatasync`, and only then publishes: readers see it, watchers are woken, callers
//! are answered. That is group commit: the more wait, the more share a sync.
//!
//! Once the disk has refused, the thread lives on to refuse everything: nothing that was not made durable is ever seen.

use std::sync::{Arc, atomic::Ordering, mpsc::SyncSender};

use tokio::sync::{mpsc, oneshot};

use super::{
    checkpoint::Mark,
    lock::DirLock,
    record::Record,
    shared::Shared,
    wal::{RotateError, Wal, WalError},
};
use crate::{KvError, LeaseId, Revision, Txn, TxnResponse};

/// Commands that may wait; more wait in their callers.
pub(super) const QUEUE: usize = 4096;
/// A frame takes no further commands when it is this long.
const FRAME_BYTES: usize = 4 << 20;

pub(super) type Answer<T> = oneshot::Sender<Result<T, KvError>>;

/// What the writer is asked to do.
pub(super) enum Command {
    Txn(Txn, Answer<TxnResponse>),
    Compact(Revision, Answer<()>),
    Grant(Option<LeaseId>, i64, Answer<LeaseId>),
    Revoke(LeaseId, Answer<()>),
    /// Go on in a new segment, and say from where: a checkpoint is to be made.
    Rotate(Answer<Mark>),
    /// Say where we are: a snapshot is to be made.
    Mark(Answer<Mark>),
    /// A checkpoint stands; the segments before this one can go.
    RemoveBefore(u64, Answer<()>),
    Stop,
}

/// An answer that waits for the frame to be durable.
enum Pending {
    Txn(TxnResponse, Answer<TxnResponse>),
    Compact(Answer<()>),
    Grant(LeaseId, i64, Answer<LeaseId>),
    Revoke(LeaseId, Answer<()>),
}

/// What shares a frame.
#[derive(Default)]
struct Group {
    frame: Vec<u8>,
    pending: Vec<Pending>,
}

pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) wal: Wal,
    pub(super) commands: mpsc::Receiver<Command>,
    /// Wakes the maintenance thread.
    pub(super) maintain: SyncSender<()>,
    pub(super) lock: DirLock,
    /// The length at which the newest segment is ended.
    pub(super) rotate_at: u64,
}

impl Writer {
    /// Runs until [`Command::Stop`], or until nobody can send any more.
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        let mut group = Group::default();
        while self.commands.blocking_recv_many(&mut batch, QUEUE) > 0 {
            let mut commands = batch.drain(..);
            while commands.len() > 0 {
                let mut housekeeping = None;
                for command in commands.by_ref() {
                    housekeeping = self.evaluate(command, &mut group);
                    if housekeeping.is_some() || group.frame.len() >= FRAME_BYTES {
                        break;
                    }
                }
                self.commit(&mut group);
                if let Some(command) = housekeeping {
                    self.keep_house(command);
                }
            }
        }
        // Explicit, because it is the point of stopping: another process may now open the directory.
        drop(self.wal);
        drop(self.lock);
    }

    /// Runs a command at the head, and notes what the log must say and who waits for it. Hands back what must not share a frame.
    fn evaluate(&self, command: Command, group: &mut Group) -> Option<Command> {
        if let Some(error) = self.shared.failure() {
            return refuse(command, error);
        }
        match command {
            Command::Txn(txn, answer) => match self.shared.write().apply(&txn) {
                Ok(applied) => {
                    group.note(applied.record.as_ref());
                    group.pending.push(Pending::Txn(applied.response, answer));
                }
                Err(error) => give(answer, Err(error)),
            },
            Command::Compact(revision, answer) => {
                let done = self.shared.write().compact(revision, self.shared.durable());
                match done {
                    Ok(record) => {
                        group.note([&record]);
                        group.pending.push(Pending::Compact(answer));
                    }
                    Err(error) => give(answer, Err(error)),
                }
            }
            Command::Grant(wanted, ttl, answer) => {
                let mut store = self.shared.write();
                match wanted.filter(|id| store.has_lease(*id)) {
                    Some(_) => give(answer, Err(KvError::Invalid("lease already exists".into()))),
                    None => {
                        let id = wanted.unwrap_or_else(|| self.shared.new_lease_id(&store));
                        group.note([&store.grant(id, ttl)]);
                        group.pending.push(Pending::Grant(id, ttl, answer));
                    }
                }
            }
            Command::Revoke(id, answer) => match self.shared.write().revoke(id) {
                Ok(records) => {
                    group.note(&records);
                    group.pending.push(Pending::Revoke(id, answer));
                }
                Err(error) => give(answer, Err(error)),
            },
            housekeeping => return Some(housekeeping),
        }
        None
    }

    /// Makes the group durable, publishes it, answers it.
    fn commit(&mut self, group: &mut Group) {
        let mut compacted = false;
        if !group.frame.is_empty() {
            if let Some(record) = self.shared.bound_history() {
                group.note([&record]);
                compacted = true;
            }
            let written = self
                .wal
                .append(&group.frame)
                .map_err(|error| self.poison(&error));
            group.frame.clear();
            // A burst should not hold its size in memory for ever.
            group.frame.shrink_to(1 << 20);
            if let Err(error) = written {
                // Those that only read may have read what is not durable, so they are refused too.
                group
                    .pending
                    .drain(..)
                    .for_each(|pending| pending.refuse(&error));
                return;
            }
            // Here alone: in a failed store the head stays ahead of the disk for ever.
            self.shared.publish();
        }
        for pending in group.pending.drain(..) {
            match pending {
                Pending::Txn(response, answer) => give(answer, Ok(response)),
                Pending::Compact(answer) => {
                    compacted = true;
                    give(answer, Ok(()));
                }
                Pending::Grant(id, ttl, answer) => {
                    self.shared.deadlines.start(id, ttl);
                    give(answer, Ok(id));
                }
                Pending::Revoke(id, answer) => {
                    self.shared.deadlines.end(id);
                    give(answer, Ok(()));
                }
            }
        }
        if self.wal.segment_bytes() > self.rotate_at {
            // Not made: the next attempt is a segment's length away.
            let made = self.rotate().is_ok();
            let length = if made { 0 } else { self.wal.segment_bytes() };
            self.rotate_at = length + self.shared.limits.segment_bytes;
        }
        self.shared
            .log_bytes
            .store(self.wal.bytes(), Ordering::Relaxed);
        if compacted || self.shared.checkpoint_due() {
            // Full: it is awake already.
            let _ = self.maintain.try_send(());
        }
    }

    /// Goes on in a new segment, and answers the sequence number of its header.
    fn rotate(&mut self) -> Result<u64, KvError> {
        self.wal.rotate().map_err(|error| match error {
            RotateError::NotMade(error) => {
                tracing::error!(%error, "a new log segment cannot be made; the old one grows");
                KvError::Unavailable(error.to_string())
            }
            RotateError::Failed(error) => self.poison(&error),
        })
    }

    fn keep_house(&mut self, command: Command) {
        match command {
            Command::Rotate(answer) => {
                let rotated = self.rotate();
                give(answer, rotated.map(|sequence| self.mark(sequence)));
            }
            // A snapshot says nothing about the log: it is restored with a new one.
            Command::Mark(answer) => give(answer, Ok(self.mark(0))),
            Command::RemoveBefore(segment, answer) => {
                let removed = self.wal.remove_before(segment);
                self.shared
                    .log_bytes
                    .store(self.wal.bytes(), Ordering::Relaxed);
                give(
                    answer,
                    removed.map_err(|error| KvError::Unavailable(error.to_string())),
                );
            }
            // What has been sent is still done; nothing more is taken.
            _ => self.commands.close(),
        }
    }

    /// The current point. Only between groups, when the head is durable.
    fn mark(&self, sequence: u64) -> Mark {
        let store = self.shared.read();
        Mark {
            identity: self.shared.identity,
            segment: self.wal.segment(),
            sequence,
            revision: store.head(),
            leases: store.leases(),
        }
    }

    fn poison(&self, error: &WalError) -> KvError {
        let failure = KvError::Failed {
            operation: error.operation,
            message: error.source.to_string(),
        };
        tracing::error!(%failure, "the store takes no further writes");
        self.shared.fail(failure.clone());
        failure
    }
}

impl Group {
    fn note<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) {
        records
            .into_iter()
            .for_each(|record| record.encode(&mut self.frame));
    }
}

impl Pending {
    fn refuse(self, error: &KvError) {
        match self {
            Self::Txn(_, answer) => give(answer, Err(error.clone())),
            Self::Compact(answer) | Self::Revoke(_, answer) => give(answer, Err(error.clone())),
            Self::Grant(_, _, answer) => give(answer, Err(error.clone())),
        }
    }
}

/// What a failed store answers.
fn refuse(command: Command, error: KvError) -> Option<Command> {
    match command {
        Command::Txn(_, answer) => give(answer, Err(error)),
        Command::Compact(_, answer)
        | Command::Revoke(_, answer)
        | Command::RemoveBefore(_, answer) => give(answer, Err(error)),
        Command::Grant(_, _, answer) => give(answer, Err(error)),
        Command::Rotate(answer) | Command::Mark(answer) => give(answer, Err(error)),
        Command::Stop => return Some(Command::Stop),
    }
    None
}

/// Whoever has stopped waiting does not need the answer.
fn give<T>(answer: Answer<T>, result: Result<T, KvError>) {
    let _ = answer.send(result);
}
