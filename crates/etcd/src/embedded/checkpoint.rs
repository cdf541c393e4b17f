//! Checkpoints: all of the store at one revision in one file, so that the log before it can go. A snapshot is the same file,
//! written elsewhere.
//!
//! The file is a sequence of [frames](super::frame): a header, the leases, the keys in order, an end mark that counts them. It is
//! made under a temporary name and renamed when durable. The store serves while it is written: the file is filled in pages, each
//! read under a short lock, and versions later than its revision are passed over.

use std::{
    path::{Path, PathBuf},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;

use super::{
    disk::{Disk, DiskFile, temporary},
    error::OpenError,
    frame::{self, FrameReader},
    record::{FORMAT, Record},
    store::Store,
};
use crate::{KvError, LeaseId, Revision};

/// Frames of a checkpoint are not tied to a store: its header says which one it is of.
const IDENTITY: u32 = 0;
/// About how much is read under one lock, and written at once.
const PAGE_BYTES: usize = 256 << 10;

/// Where checkpoint `segment` lies. It is named by the first log segment that is not in it.
pub(super) fn checkpoint_path(dir: &Path, segment: u64) -> PathBuf {
    dir.join(format!("checkpoint-{segment:016x}.db"))
}

/// The number of the checkpoint at `path`, if it is one.
pub(super) fn checkpoint_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_prefix("checkpoint-")?.strip_suffix(".db")?, 16).ok()
}

/// A durable point of the store, from which a checkpoint can be made.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) identity: u32,
    /// Where the log goes on.
    pub(super) segment: u64,
    /// Of that segment's header.
    pub(super) sequence: u64,
    pub(super) revision: Revision,
    pub(super) leases: Vec<(LeaseId, i64)>,
}

struct Output {
    file: Box<dyn DiskFile>,
    sequence: u64,
    buffer: Vec<u8>,
    bytes: u64,
}

impl Output {
    fn frame(&mut self, payload: &[u8]) -> std::io::Result<()> {
        self.buffer.clear();
        frame::encode(IDENTITY, self.sequence, payload, &mut self.buffer);
        self.sequence += 1;
        self.bytes += self.buffer.len() as u64;
        self.file.append(&self.buffer)
    }
}

/// Writes the checkpoint of `mark` to `path` and answers its size. The caller keeps the store from being scrubbed meanwhile.
/// `stop` ends it early, with nothing left behind.
pub(super) fn write(
    disk: &dyn Disk,
    path: &Path,
    mark: &Mark,
    store: &RwLock<Store>,
    stop: &AtomicBool,
) -> Result<u64, OpenError> {
    let temporary = temporary(path);
    let failed = |source| OpenError::io("writing", &temporary, source);
    let written = (|| {
        let file = disk.create(&temporary).map_err(failed)?;
        let mut output = Output {
            file,
            sequence: 0,
            buffer: Vec::new(),
            bytes: 0,
        };
        write_frames(&mut output, mark, store, stop, &failed)?;
        output.file.sync().map_err(failed)?;
        disk.rename(&temporary, path).map_err(failed)?;
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        disk.sync_dir(dir.unwrap_or(Path::new(".")))
            .map_err(failed)?;
        Ok(output.bytes)
    })();
    if written.is_err() {
        let _ = disk.remove(&temporary);
    }
    written
}

fn write_frames(
    output: &mut Output,
    mark: &Mark,
    store: &RwLock<Store>,
    stop: &AtomicBool,
    failed: &dyn Fn(std::io::Error) -> OpenError,
) -> Result<(), OpenError> {
    let mut payload = Vec::new();
    header(mark).encode(&mut payload);
    output.frame(&payload).map_err(failed)?;
    payload.clear();
    for (id, ttl) in &mark.leases {
        Record::LeaseGrant { id: *id, ttl: *ttl }.encode(&mut payload);
    }
    output.frame(&payload).map_err(failed)?;
    let mut keys = 0;
    let mut after: Option<Bytes> = None;
    loop {
        if stop.load(Ordering::Relaxed) {
            return Err(OpenError::Stopped(KvError::Unavailable(
                "it is stopping".into(),
            )));
        }
        let (page, last) = {
            let store = store.read().unwrap_or_else(PoisonError::into_inner);
            store.page(after.as_ref(), mark.revision, PAGE_BYTES)
        };
        let Some(last) = last else { break };
        after = Some(last);
        payload.clear();
        keys += page.len() as u64;
        for (key, versions) in page {
            Record::Key { key, versions }.encode(&mut payload);
        }
        output.frame(&payload).map_err(failed)?;
    }
    let compacted = store
        .read()
        .unwrap_or_else(PoisonError::into_inner)
        .compacted()
        .0;
    payload.clear();
    Record::End { keys, compacted }.encode(&mut payload);
    output.frame(&payload).map_err(failed)
}

fn header(mark: &Mark) -> Record {
    Record::Checkpoint {
        format: FORMAT,
        identity: mark.identity,
        segment: mark.segment,
        sequence: mark.sequence,
        revision: mark.revision.0,
    }
}

/// Reads a whole checkpoint. Anything amiss is an error that names the file and the offset.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> Result<(Store, Mark), OpenError> {
    let input = disk
        .read(path)
        .map_err(|error| OpenError::io("opening", path, error))?;
    let mut frames = FrameReader::new(path, input, IDENTITY);
    let mut payload = frames.next()?;
    let Some(Record::Checkpoint {
        format,
        identity,
        segment,
        sequence,
        revision,
    }) = Record::decode(&mut payload)
    else {
        return Err(frames.damaged("it does not begin as a checkpoint"));
    };
    if format != FORMAT {
        return Err(OpenError::Format {
            dir: path.to_owned(),
            found: format.to_string(),
            supported: FORMAT,
        });
    }
    let mut store = Store::new();
    let mut keys = 0;
    loop {
        let start = frames.offset;
        let damaged = |reason: &str| OpenError::damaged(path, start, reason);
        let mut payload = frames.next()?;
        while !payload.is_empty() {
            match Record::decode(&mut payload) {
                Some(Record::LeaseGrant { id, ttl }) => drop(store.grant(id, ttl)),
                Some(Record::Key { key, versions }) => {
                    keys += 1;
                    store.load(key, versions).map_err(damaged)?;
                }
                Some(Record::End {
                    keys: expected,
                    compacted,
                }) => {
                    if keys != expected || !payload.is_empty() {
                        return Err(damaged("the number of keys is not what it was"));
                    }
                    store.seal_load(revision, compacted).map_err(damaged)?;
                    if !frames.at_end()? {
                        return Err(frames.damaged("something follows the end mark"));
                    }
                    let leases = store.leases();
                    let revision = Revision(revision);
                    return Ok((
                        store,
                        Mark {
                            identity,
                            segment,
                            sequence,
                            revision,
                            leases,
                        },
                    ));
                }
                _ => return Err(damaged("the record cannot be read")),
            }
        }
    }
}

/// Copies a checkpoint that has been read without fault, under another header.
pub(super) fn copy(disk: &dyn Disk, from: &Path, to: &Path, mark: &Mark) -> Result<(), OpenError> {
    let failed = |source| OpenError::io("writing", to, source);
    let input = disk
        .read(from)
        .map_err(|error| OpenError::io("opening", from, error))?;
    let mut payload = Vec::new();
    header(mark).encode(&mut payload);
    let file = disk.create(&temporary(to)).map_err(failed)?;
    let mut output = Output {
        file,
        sequence: 0,
        buffer: Vec::new(),
        bytes: 0,
    };
    output.frame(&payload).map_err(failed)?;
    let mut frames = FrameReader::new(from, input, IDENTITY);
    frames.next()?;
    while !frames.at_end()? {
        output.frame(frames.next()?).map_err(failed)?;
    }
    output.file.sync().map_err(failed)?;
    disk.rename(&temporary(to), to).map_err(failed)
}
