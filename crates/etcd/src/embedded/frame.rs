//! Frames: how bytes lie in the store's files. The log and the checkpoints are both sequences of them.
//!
//! ```text
//! magic u32 | length u32 | sequence u64 | payload crc u32 | header crc u32 | payload
//! ```
//!
//! Numbers are little-endian. Sequence numbers run on without a gap from frame to frame and from log segment to log segment, so
//! that a lost or repeated frame shows. Both checksums are seeded with the store's identity, so that a file of another store does
//! not pass. In the log a frame is what one `fdatasync` made durable: at a crash at most the last frame can be incomplete.
//!
//! **Torn or damaged?** A crash leaves the last frame short, or (on a file system that grows a file before its data arrive) with
//! sectors of zeros. A frame that is complete in length, has no zero sector and fails its checksum was once whole: that is damage,
//! and so is anything wrong before the last frame. Torn frames were never acknowledged and are cut; damage is refused.

use super::error::OpenError;
use std::{
    io::{self, BufRead as _, BufReader, Read},
    path::Path,
};

const MAGIC: u32 = u32::from_le_bytes(*b"FrIr");
/// Bytes before the payload.
pub(super) const HEADER: usize = 24;
/// What a disk writes in one piece; torn writes leave whole sectors of zeros.
const SECTOR: usize = 512;

/// Appends a frame to `out`.
pub(super) fn encode(identity: u32, sequence: u64, payload: &[u8], out: &mut Vec<u8>) {
    let length = u32::try_from(payload.len()).expect("a frame is kept under 4 GiB by its writer");
    let start = out.len();
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&checksum(identity, payload).to_le_bytes());
    let header_checksum = checksum(identity, &out[start..]);
    out.extend_from_slice(&header_checksum.to_le_bytes());
    out.extend_from_slice(payload);
}

fn checksum(identity: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(identity);
    hasher.update(bytes);
    hasher.finalize()
}

struct Header {
    length: usize,
    sequence: u64,
    payload_checksum: u32,
}

impl Header {
    /// The header at the beginning of `bytes`, if a valid one is there.
    fn parse(identity: u32, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        if word(0) != MAGIC || word(20) != checksum(identity, &bytes[..20]) {
            return None;
        }
        Some(Self {
            length: word(4) as usize,
            sequence: u64::from(word(8)) | u64::from(word(12)) << 32,
            payload_checksum: word(16),
        })
    }
}

/// What lies at a place in a file held in memory.
pub(super) enum Next<'a> {
    /// A whole frame.
    Frame {
        sequence: u64,
        payload: &'a [u8],
        /// Where the next one begins.
        end: usize,
    },
    /// The file ends here, cleanly.
    End,
    /// The file ends here with a frame whose write a crash interrupted.
    Torn,
    /// Something that no crash explains.
    Damaged(&'static str),
}

/// Looks at the frame that begins at `offset` of `file`.
pub(super) fn next(identity: u32, file: &[u8], offset: usize) -> Next<'_> {
    let rest = &file[offset..];
    if rest.is_empty() {
        return Next::End;
    }
    let Some(header) = Header::parse(identity, rest) else {
        if rest.len() < HEADER {
            return Next::Torn;
        }
        if has_zero_sector(file, offset, offset + HEADER) && !valid_header_follows(identity, rest) {
            return Next::Torn;
        }
        return Next::Damaged("the frame header fails its checksum");
    };
    let Some(payload) = rest[HEADER..].get(..header.length) else {
        return Next::Torn;
    };
    let end = offset + HEADER + header.length;
    if checksum(identity, payload) != header.payload_checksum {
        if end == file.len() && has_zero_sector(file, offset, end) {
            return Next::Torn;
        }
        return Next::Damaged("the frame fails its checksum");
    }
    Next::Frame {
        sequence: header.sequence,
        payload,
        end,
    }
}

/// Whether `file[start..end]` overlaps a sector whose part from `start` on holds zeros alone.
fn has_zero_sector(file: &[u8], start: usize, end: usize) -> bool {
    let mut sector = start - start % SECTOR;
    while sector < end {
        let from = sector.max(start);
        let to = (sector + SECTOR).min(file.len());
        // A few zero bytes at the edge of a frame prove nothing.
        if to - from >= HEADER && file[from..to].iter().all(|byte| *byte == 0) {
            return true;
        }
        sector += SECTOR;
    }
    false
}

/// A later frame proves that the one before it had been made durable.
fn valid_header_follows(identity: u32, rest: &[u8]) -> bool {
    let magic = MAGIC.to_le_bytes();
    (1..rest.len().saturating_sub(HEADER - 1))
        .any(|at| rest[at..].starts_with(&magic) && Header::parse(identity, &rest[at..]).is_some())
}

/// Reads the frames of a file that must be whole, one at a time, without holding the file in memory.
pub(super) struct FrameReader<'a> {
    path: &'a Path,
    input: BufReader<Box<dyn Read + Send>>,
    identity: u32,
    /// Where the frame that is read next begins.
    pub(super) offset: u64,
    sequence: u64,
    payload: Vec<u8>,
}

impl<'a> FrameReader<'a> {
    pub(super) fn new(path: &'a Path, input: Box<dyn Read + Send>, identity: u32) -> Self {
        Self {
            path,
            input: BufReader::with_capacity(256 << 10, input),
            identity,
            offset: 0,
            sequence: 0,
            payload: Vec::new(),
        }
    }

    /// The payload of the next frame. The end of the file is damage too: whole files end with a record that says so.
    pub(super) fn next(&mut self) -> Result<&[u8], OpenError> {
        let mut header = [0; HEADER];
        self.fill(&mut header)?;
        let header = Header::parse(self.identity, &header)
            .ok_or_else(|| self.damaged("the frame header fails its checksum"))?;
        if header.sequence != self.sequence {
            return Err(self.damaged("a frame is missing"));
        }
        // Read by `take`, so that a length is not believed before the bytes are there.
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        let read = self
            .input
            .by_ref()
            .take(header.length as u64)
            .read_to_end(&mut payload);
        let read = read.map_err(|error| OpenError::io("reading", self.path, error))?;
        if read != header.length {
            return Err(self.damaged("the file is cut short"));
        }
        if checksum(self.identity, &payload) != header.payload_checksum {
            return Err(self.damaged("the frame fails its checksum"));
        }
        self.offset += (HEADER + read) as u64;
        self.sequence += 1;
        self.payload = payload;
        Ok(&self.payload)
    }

    /// Whether all frames have been read.
    pub(super) fn at_end(&mut self) -> Result<bool, OpenError> {
        let rest = self.input.fill_buf();
        Ok(rest
            .map_err(|error| OpenError::io("reading", self.path, error))?
            .is_empty())
    }

    /// An error about the frame at hand.
    pub(super) fn damaged(&self, reason: &str) -> OpenError {
        OpenError::damaged(self.path, self.offset, reason)
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), OpenError> {
        self.input
            .read_exact(buffer)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => self.damaged("the file is cut short"),
                _ => OpenError::io("reading", self.path, error),
            })
    }
}
