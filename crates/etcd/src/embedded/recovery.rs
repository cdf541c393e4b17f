//! Opening a data directory: newest checkpoint, then the log behind it, frame by frame. Start *is* recovery; there is no other way in.
//!
//! Refused, with file and offset: a frame that fails its checksum though no crash explains it, a gap in segments, frames or
//! revisions, a missing file, an unknown format. Mended: the torn end of the last segment is cut, a rotation that a crash
//! interrupted is taken back, files under temporary names and those that a checkpoint has made superfluous are removed. Nothing is
//! mended before all has been read and found whole.

use std::{
    collections::VecDeque,
    fmt::Write as _,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use base::Clock;

use super::{
    checkpoint::{self, Mark, checkpoint_number, checkpoint_path},
    disk::{Disk, TEMPORARY, write_whole},
    error::OpenError,
    frame::{self, Next},
    lock,
    record::{FORMAT, Record},
    store::Store,
    wal::{Wal, WalEnd, segment_number, segment_path},
};
use crate::Revision;

const FORMAT_FILE: &str = "FORMAT";
/// A segment with nothing but its header is no longer than this.
const SEGMENT_HEADER_MAX: usize = frame::HEADER + 16;

/// A store as it was, ready to go on.
pub(super) struct Recovered {
    pub(super) store: Store,
    pub(super) wal: Wal,
    pub(super) identity: u32,
}

/// Opens the directory, which is locked by the caller, or makes a new store in it.
pub(super) fn recover(
    disk: Arc<dyn Disk>,
    dir: &Path,
    clock: &Clock,
) -> Result<Recovered, OpenError> {
    let files = disk
        .list(dir)
        .map_err(|error| OpenError::io("listing", dir, error))?;
    let identity = match read_format(&*disk, dir)? {
        Some(identity) => identity,
        None => {
            let identity = new_identity(clock);
            initialise(&*disk, dir, &files, identity)?;
            identity
        }
    };
    let files = disk
        .list(dir)
        .map_err(|error| OpenError::io("listing", dir, error))?;
    let newest = files
        .iter()
        .filter_map(|path| checkpoint_number(path))
        .max();
    let (mut store, first, sequence) = match newest {
        None => (Store::new(), 1, 0),
        Some(number) => {
            let path = checkpoint_path(dir, number);
            let (store, mark) = checkpoint::read(&*disk, &path)?;
            if mark.identity != identity || mark.segment != number {
                return Err(OpenError::damaged(
                    &path,
                    0,
                    "it belongs to another store or place",
                ));
            }
            (store, number, mark.sequence)
        }
    };
    let mut log = LogReader {
        disk: &*disk,
        dir,
        identity,
        sequence,
        sealed: VecDeque::new(),
    };
    let end = log.read(first, &files, &mut store)?;
    while store.scrub(usize::MAX) {}

    let mended = |error| OpenError::io("mending", dir, error);
    if let Some(number) = end.taken_back {
        disk.remove(&segment_path(dir, number)).map_err(mended)?;
    }
    if end.torn {
        let path = segment_path(dir, end.segment);
        tracing::warn!(file = %path.display(), offset = end.length, "cutting the torn end of the log");
        let cut = disk.append(&path).and_then(|mut file| {
            file.truncate(end.length)?;
            file.sync()
        });
        cut.map_err(|error| OpenError::io("cutting", &path, error))?;
    }
    for path in &files {
        let superfluous = path
            .extension()
            .is_some_and(|extension| extension == TEMPORARY)
            || segment_number(path).is_some_and(|number| number < first)
            || checkpoint_number(path).is_some_and(|number| number < first);
        if superfluous {
            disk.remove(path).map_err(mended)?;
        }
    }
    disk.sync_dir(dir).map_err(mended)?;
    let end = WalEnd {
        first_segment: first,
        segment: end.segment,
        length: end.length,
        sealed: log.sealed,
        sequence: log.sequence,
    };
    let wal = Wal::resume(disk, dir, identity, end).map_err(mended)?;
    Ok(Recovered {
        store,
        wal,
        identity,
    })
}

/// Makes `dir`, which must be empty or absent, a data directory with what the snapshot holds.
pub(super) fn restore(
    disk: &dyn Disk,
    snapshot: &Path,
    dir: &Path,
    clock: &Clock,
) -> Result<Revision, OpenError> {
    let (_, mark) = checkpoint::read(disk, snapshot)?;
    lock::make_durably(dir).map_err(|error| OpenError::io("making", dir, error))?;
    let files = disk
        .list(dir)
        .map_err(|error| OpenError::io("listing", dir, error))?;
    if !files.is_empty() {
        return Err(OpenError::NotEmpty {
            dir: dir.to_owned(),
        });
    }
    let identity = new_identity(clock);
    let revision = mark.revision;
    let mark = Mark {
        identity,
        segment: 1,
        sequence: 0,
        ..mark
    };
    checkpoint::copy(disk, snapshot, &checkpoint_path(dir, 1), &mark)?;
    initialise(disk, dir, &[], identity)?;
    Ok(revision)
}

struct LogReader<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    identity: u32,
    /// That the next frame must have.
    sequence: u64,
    /// Bytes of the segments before the last.
    sealed: VecDeque<u64>,
}

/// Where the log ends, and what is to be mended there.
struct LogEnd {
    segment: u64,
    length: u64,
    torn: bool,
    /// An empty segment whose making a crash interrupted.
    taken_back: Option<u64>,
}

impl LogReader<'_> {
    fn read(
        &mut self,
        first: u64,
        files: &[PathBuf],
        store: &mut Store,
    ) -> Result<LogEnd, OpenError> {
        let last = files
            .iter()
            .filter_map(|path| segment_number(path))
            .max()
            .unwrap_or(0);
        let mut segment = first;
        loop {
            let path = segment_path(self.dir, segment);
            if !files.contains(&path) {
                return Err(OpenError::Missing { file: path });
            }
            let bytes = self.slurp(&path)?;
            let end = self.replay(&path, segment, &bytes, store)?;
            if end.sealed {
                self.sealed.push_back(end.offset as u64);
                segment += 1;
                continue;
            }
            let mut found = LogEnd {
                segment,
                length: end.offset as u64,
                torn: end.torn,
                taken_back: None,
            };
            if segment < last {
                if segment + 1 == last && self.is_empty(last)? {
                    found.taken_back = Some(last);
                } else {
                    let reason = "the log is cut short: later segments exist";
                    return Err(OpenError::damaged(&path, end.offset as u64, reason));
                }
            }
            return Ok(found);
        }
    }

    fn slurp(&self, path: &Path) -> Result<Vec<u8>, OpenError> {
        let mut bytes = Vec::new();
        let read = self
            .disk
            .read(path)
            .and_then(|mut file| file.read_to_end(&mut bytes));
        read.map_err(|error| OpenError::io("reading", path, error))?;
        Ok(bytes)
    }

    /// Whether a segment holds its header alone.
    fn is_empty(&self, segment: u64) -> Result<bool, OpenError> {
        let bytes = self.slurp(&segment_path(self.dir, segment))?;
        Ok(
            matches!(frame::next(self.identity, &bytes, 0), Next::Frame { end, .. } if end == bytes.len()),
        )
    }

    fn replay(
        &mut self,
        path: &Path,
        segment: u64,
        bytes: &[u8],
        store: &mut Store,
    ) -> Result<SegmentEnd, OpenError> {
        let mut offset = 0;
        loop {
            let damaged = |reason: &str| OpenError::damaged(path, offset as u64, reason);
            let (sequence, mut payload, end) = match frame::next(self.identity, bytes, offset) {
                Next::Frame {
                    sequence,
                    payload,
                    end,
                } => (sequence, payload, end),
                // A segment comes into being whole, by a rename: without its header it was cut by something else.
                Next::End | Next::Torn if offset == 0 => {
                    return Err(damaged("the segment header is missing"));
                }
                Next::End => {
                    return Ok(SegmentEnd {
                        offset,
                        sealed: false,
                        torn: false,
                    });
                }
                Next::Torn => {
                    return Ok(SegmentEnd {
                        offset,
                        sealed: false,
                        torn: true,
                    });
                }
                Next::Damaged(reason) => return Err(damaged(reason)),
            };
            if sequence != self.sequence {
                return Err(damaged("a frame is missing or out of place"));
            }
            self.sequence += 1;
            while !payload.is_empty() {
                let record = Record::decode(&mut payload)
                    .ok_or_else(|| damaged("the record cannot be read"))?;
                match record {
                    Record::Segment {
                        format,
                        segment: number,
                    } if offset == 0 => {
                        if format != FORMAT || number != segment {
                            return Err(damaged("the segment header is not this segment's"));
                        }
                    }
                    Record::Seal if end == bytes.len() => {
                        return Ok(SegmentEnd {
                            offset: end,
                            sealed: true,
                            torn: false,
                        });
                    }
                    record => store.replay(record).map_err(damaged)?,
                }
            }
            offset = end;
        }
    }
}

struct SegmentEnd {
    offset: usize,
    sealed: bool,
    torn: bool,
}

/// Makes a first, empty segment. The format file comes last: with it, a log must be there.
fn initialise(
    disk: &dyn Disk,
    dir: &Path,
    files: &[PathBuf],
    identity: u32,
) -> Result<(), OpenError> {
    let path = dir.join(FORMAT_FILE);
    // An interrupted initialisation leaves one segment at most, of which nothing was ever acknowledged.
    let foreign = |file: &&PathBuf| {
        checkpoint_number(file).is_some() || segment_number(file).is_some_and(|number| number > 1)
    };
    let first = segment_path(dir, 1);
    let written = files.contains(&first) && {
        let mut head = Vec::new();
        let read = disk
            .read(&first)
            .and_then(|file| file.take(256).read_to_end(&mut head));
        read.map_err(|error| OpenError::io("reading", &first, error))? > SEGMENT_HEADER_MAX
    };
    if written || files.iter().any(|file| foreign(&file)) {
        return Err(OpenError::Missing { file: path });
    }
    let made = Wal::create_segment(disk, dir, identity, 1, 0);
    made.map_err(|error| OpenError::io("making a log in", dir, error))?;
    let mut text = String::new();
    let _ = write!(text, "ironclad-store {FORMAT}\nidentity {identity:08x}\n");
    write_whole(disk, &path, text.as_bytes())
        .map_err(|error| OpenError::io("writing", &path, error))
}

/// The store's identity, if the directory has been initialised.
fn read_format(disk: &dyn Disk, dir: &Path) -> Result<Option<u32>, OpenError> {
    let path = dir.join(FORMAT_FILE);
    let mut text = String::new();
    match disk
        .read(&path)
        .and_then(|file| file.take(4096).read_to_string(&mut text))
    {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io("reading", &path, error)),
    }
    let unknown = || OpenError::Format {
        dir: dir.to_owned(),
        found: text.lines().next().unwrap_or_default().to_owned(),
        supported: FORMAT,
    };
    let mut lines = text.lines();
    let format = lines
        .next()
        .and_then(|line| line.strip_prefix("ironclad-store "));
    if format.and_then(|format| format.parse().ok()) != Some(FORMAT) {
        return Err(unknown());
    }
    let identity = lines.next().and_then(|line| line.strip_prefix("identity "));
    let identity = identity.and_then(|identity| u32::from_str_radix(identity, 16).ok());
    identity.map(Some).ok_or_else(unknown)
}

/// Tells this store's files from another's. Not a secret: the time will do.
fn new_identity(clock: &Clock) -> u32 {
    let nanoseconds = clock.now().as_nanosecond();
    crc32fast::hash(&nanoseconds.to_le_bytes()) ^ std::process::id()
}
