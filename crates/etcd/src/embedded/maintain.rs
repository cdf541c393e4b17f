//! The maintenance thread: frees what compaction has forgotten, and makes checkpoints so that the log stays short. It works in
//! small steps beside the writer and never stops it for longer than a page.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering, mpsc::Receiver};

use tokio::sync::{mpsc::Sender, oneshot};

use super::{
    checkpoint::{self, checkpoint_number, checkpoint_path},
    error::OpenError,
    shared::Shared,
    writer::{Answer, Command},
};
use crate::KvError;

/// Revisions forgotten under one lock.
const SCRUB_STEP: usize = 512;

/// Keeps scrubs and checkpoints apart: a checkpoint's history must not be forgotten while it is written.
pub(super) type Gate = Mutex<()>;

pub(super) struct Maintenance {
    pub(super) shared: Arc<Shared>,
    pub(super) commands: Sender<Command>,
    pub(super) wake: Receiver<()>,
}

impl Maintenance {
    /// Runs until the writer is gone.
    pub(super) fn run(self) {
        while self.wake.recv().is_ok() {
            self.scrub();
            if self.shared.checkpoint_due()
                && let Err(error) = self.checkpoint()
                && !self.shared.stopping.load(Ordering::Relaxed)
            {
                // Nothing is lost: the log is still there, and grows until a later checkpoint succeeds.
                tracing::error!(%error, "the checkpoint failed");
                self.shared.postpone_checkpoint();
            }
        }
    }

    fn scrub(&self) {
        let _gate = self
            .shared
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut more = true;
        while more && !self.shared.stopping.load(Ordering::Relaxed) {
            // The lock is let go between steps.
            more = self.shared.write().scrub(SCRUB_STEP);
        }
        self.shared
            .scrubbed
            .store(self.shared.read().compacted().0, Ordering::Release);
    }

    fn checkpoint(&self) -> Result<(), OpenError> {
        let _gate = self
            .shared
            .gate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let shared = &self.shared;
        let mark = ask(&self.commands, Command::Rotate)?;
        let segment = mark.segment;
        let path = checkpoint_path(&shared.dir, segment);
        let bytes =
            checkpoint::write(&*shared.disk, &path, &mark, &shared.store, &shared.stopping)?;
        shared.note_checkpoint(bytes);
        let files = shared.disk.list(&shared.dir);
        let files = files.map_err(|error| OpenError::io("listing", &shared.dir, error))?;
        for old in files
            .iter()
            .filter(|file| checkpoint_number(file).is_some_and(|it| it < segment))
        {
            shared
                .disk
                .remove(old)
                .map_err(|error| OpenError::io("removing", old, error))?;
        }
        ask(&self.commands, |answer| {
            Command::RemoveBefore(segment, answer)
        })?;
        tracing::debug!(revision = mark.revision.0, bytes, "checkpoint");
        Ok(())
    }
}

/// Asks the writer from a thread that may block.
pub(super) fn ask<T>(
    commands: &Sender<Command>,
    command: impl FnOnce(Answer<T>) -> Command,
) -> Result<T, OpenError> {
    let stopped = || OpenError::Stopped(KvError::Unavailable("it is stopping".into()));
    let (answer, reply) = oneshot::channel();
    commands
        .blocking_send(command(answer))
        .map_err(|_| stopped())?;
    reply
        .blocking_recv()
        .map_err(|_| stopped())?
        .map_err(OpenError::Stopped)
}
