//! The write-ahead log: numbered segments of [frames](super::frame), of which the newest is appended to.
//!
//! Rotation makes the next segment (durable, with its header) *before* it seals the one at hand. So a sealed segment always has a
//! successor, and a directory that lacks it has lost data; an unsealed one followed by an empty one is a rotation that a crash
//! interrupted. Segments are not filled with zeros ahead: on ext4 that doubles what is written.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    disk::{Disk, DiskFile, temporary},
    frame,
    record::{FORMAT, Record},
};

/// Where segment `number` lies.
pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("wal-{number:016x}.log"))
}

/// The number of the segment at `path`, if it is one.
pub(super) fn segment_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_prefix("wal-")?.strip_suffix(".log")?, 16).ok()
}

/// What failed, in words for [`crate::KvError::Failed`].
#[derive(Debug)]
pub(super) struct WalError {
    pub(super) operation: &'static str,
    pub(super) source: io::Error,
}

/// Why the log does not go on in a new segment.
#[derive(Debug)]
pub(super) enum RotateError {
    /// The new segment could not be made; the log goes on where it is.
    NotMade(io::Error),
    /// The log itself failed.
    Failed(WalError),
}

/// The log, open for writing. After an error it must not be used again.
pub(super) struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    identity: u32,
    file: Box<dyn DiskFile>,
    /// The newest segment.
    segment: u64,
    /// The oldest one kept.
    first_segment: u64,
    /// Bytes in the newest segment.
    length: u64,
    /// Bytes in the sealed ones, from the oldest on.
    sealed: VecDeque<u64>,
    /// Of the next frame.
    sequence: u64,
    buffer: Vec<u8>,
}

/// Where recovery found the log's end.
pub(super) struct WalEnd {
    pub(super) first_segment: u64,
    pub(super) segment: u64,
    pub(super) length: u64,
    /// Bytes in each segment before.
    pub(super) sealed: VecDeque<u64>,
    pub(super) sequence: u64,
}

impl Wal {
    /// Goes on with a log that recovery has read, whose last segment holds nothing behind `end.length`.
    pub(super) fn resume(
        disk: Arc<dyn Disk>,
        dir: &Path,
        identity: u32,
        end: WalEnd,
    ) -> io::Result<Self> {
        let file = disk.append(&segment_path(dir, end.segment))?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            identity,
            file,
            segment: end.segment,
            first_segment: end.first_segment,
            length: end.length,
            sealed: end.sealed,
            sequence: end.sequence,
            buffer: Vec::new(),
        })
    }

    /// Makes a segment with nothing but its header, durably.
    pub(super) fn create_segment(
        disk: &dyn Disk,
        dir: &Path,
        identity: u32,
        segment: u64,
        sequence: u64,
    ) -> io::Result<(Box<dyn DiskFile>, u64)> {
        let path = segment_path(dir, segment);
        let temporary = temporary(&path);
        let mut payload = Vec::new();
        Record::Segment {
            format: FORMAT,
            segment,
        }
        .encode(&mut payload);
        let mut bytes = Vec::new();
        frame::encode(identity, sequence, &payload, &mut bytes);
        let mut file = disk.create(&temporary)?;
        file.append(&bytes)?;
        file.sync()?;
        disk.rename(&temporary, &path)?;
        disk.sync_dir(dir)?;
        Ok((file, bytes.len() as u64))
    }

    /// Appends one frame and makes it durable. If it fails, the frame is taken back as far as the disk obeys.
    pub(super) fn append(&mut self, payload: &[u8]) -> Result<(), WalError> {
        self.buffer.clear();
        frame::encode(self.identity, self.sequence, payload, &mut self.buffer);
        let failed = |operation| move |source| WalError { operation, source };
        let written = self
            .file
            .append(&self.buffer)
            .map_err(failed("writing the log"));
        let durable = written.and_then(|()| {
            self.file
                .sync()
                .map_err(failed("making the log durable (fdatasync)"))
        });
        if durable.is_err() {
            // A refused write should not come back after a restart. Best effort: the disk is failing.
            let _ = self
                .file
                .truncate(self.length)
                .and_then(|()| self.file.sync());
            return durable;
        }
        self.length += self.buffer.len() as u64;
        self.sequence += 1;
        // One huge transaction should not hold its size in memory for ever.
        self.buffer.shrink_to(1 << 20);
        Ok(())
    }

    /// Goes on in a new segment. [`RotateError::NotMade`] leaves the log as it was. Answers the sequence number of its header.
    pub(super) fn rotate(&mut self) -> Result<u64, RotateError> {
        let next = self.segment + 1;
        // The seal takes the sequence number before the new header's.
        let made = Self::create_segment(
            &*self.disk,
            &self.dir,
            self.identity,
            next,
            self.sequence + 1,
        );
        let (file, length) = made.map_err(RotateError::NotMade)?;
        let mut seal = Vec::new();
        Record::Seal.encode(&mut seal);
        self.append(&seal).map_err(RotateError::Failed)?;
        self.sealed.push_back(self.length);
        self.file = file;
        self.segment = next;
        self.length = length;
        self.sequence += 1;
        Ok(self.sequence - 1)
    }

    /// Removes the segments before `segment`, which a checkpoint has made superfluous.
    pub(super) fn remove_before(&mut self, segment: u64) -> io::Result<()> {
        for number in self.first_segment..segment.min(self.segment) {
            match self.disk.remove(&segment_path(&self.dir, number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {
                    self.first_segment = number + 1;
                    self.sealed.pop_front();
                }
            }
        }
        self.disk.sync_dir(&self.dir)
    }

    /// The newest segment.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Bytes in the newest segment.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.length
    }

    /// Bytes in all segments.
    pub(super) fn bytes(&self) -> u64 {
        self.sealed.iter().sum::<u64>() + self.length
    }
}
