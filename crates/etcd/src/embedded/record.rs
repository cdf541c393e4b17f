//! Records: what the frames of log segments and checkpoints say, and their bytes.
//!
//! Integers are LEB128 varints, byte strings are length-prefixed. A tag is never reused for another meaning; a format that an older
//! version would misread raises [`FORMAT`].

use bytes::Bytes;

use crate::{LeaseId, Revision};

/// The version of the store's files.
pub(super) const FORMAT: u32 = 1;

/// One version of a key, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) mod_revision: i64,
    pub(super) create_revision: i64,
    /// 0 marks a deletion.
    pub(super) version: i64,
    pub(super) lease: LeaseId,
    /// The place of this change among those of its revision.
    pub(super) position: u32,
    pub(super) value: Bytes,
}

/// What a frame holds one or more of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// First in every log segment.
    Segment { format: u32, segment: u64 },
    /// Last in every log segment but the newest: the segment that follows exists.
    Seal,
    /// A write transaction.
    Txn {
        revision: i64,
        changes: Vec<(Bytes, Version)>,
    },
    /// History before this revision is gone.
    Compact { revision: i64 },
    /// A lease came into being.
    LeaseGrant { id: LeaseId, ttl: i64 },
    /// A lease ended. Its keys are deleted by the transaction before, in the same frame.
    LeaseRevoke { id: LeaseId },
    /// First in a checkpoint of the store `identity`: everything up to `revision`; the log goes on in `segment`, whose first frame has `sequence`.
    Checkpoint {
        format: u32,
        identity: u32,
        segment: u64,
        sequence: u64,
        revision: i64,
    },
    /// A key with all its versions.
    Key { key: Bytes, versions: Vec<Version> },
    /// Last in a checkpoint.
    End { keys: u64, compacted: i64 },
}

impl Record {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Segment { format, segment } => {
                out.push(1);
                put(out, u64::from(*format));
                put(out, *segment);
            }
            Self::Seal => out.push(2),
            Self::Txn { revision, changes } => {
                out.push(3);
                put_signed(out, *revision);
                put(out, changes.len() as u64);
                for (key, version) in changes {
                    put_bytes(out, key);
                    // The other fields follow from the record: the revision, and the place in it.
                    put_signed(out, version.create_revision);
                    put_signed(out, version.version);
                    put_signed(out, version.lease.0);
                    put_bytes(out, &version.value);
                }
            }
            Self::Compact { revision } => {
                out.push(4);
                put_signed(out, *revision);
            }
            Self::LeaseGrant { id, ttl } => {
                out.push(5);
                put_signed(out, id.0);
                put_signed(out, *ttl);
            }
            Self::LeaseRevoke { id } => {
                out.push(6);
                put_signed(out, id.0);
            }
            Self::Checkpoint {
                format,
                identity,
                segment,
                sequence,
                revision,
            } => {
                out.push(7);
                put(out, u64::from(*format));
                put(out, u64::from(*identity));
                put(out, *segment);
                put(out, *sequence);
                put_signed(out, *revision);
            }
            Self::Key { key, versions } => {
                out.push(8);
                put_bytes(out, key);
                put(out, versions.len() as u64);
                for version in versions {
                    put_signed(out, version.mod_revision);
                    put_signed(out, version.create_revision);
                    put_signed(out, version.version);
                    put_signed(out, version.lease.0);
                    put(out, u64::from(version.position));
                    put_bytes(out, &version.value);
                }
            }
            Self::End { keys, compacted } => {
                out.push(9);
                put(out, *keys);
                put_signed(out, *compacted);
            }
        }
    }

    /// Takes one record off the front of `input`. `None`: these bytes are no record.
    pub(super) fn decode(input: &mut &[u8]) -> Option<Self> {
        let (tag, rest) = input.split_first()?;
        *input = rest;
        Some(match tag {
            1 => Self::Segment {
                format: take(input)?.try_into().ok()?,
                segment: take(input)?,
            },
            2 => Self::Seal,
            3 => {
                let revision = take_signed(input)?;
                let count = take(input)?;
                // Not allocated ahead: `count` is not believed before the bytes are there.
                let mut changes = Vec::new();
                for position in 0..count {
                    let key = take_bytes(input)?;
                    changes.push((
                        key,
                        Version {
                            mod_revision: revision,
                            create_revision: take_signed(input)?,
                            version: take_signed(input)?,
                            lease: LeaseId(take_signed(input)?),
                            position: position.try_into().ok()?,
                            value: take_bytes(input)?,
                        },
                    ));
                }
                Self::Txn { revision, changes }
            }
            4 => Self::Compact {
                revision: take_signed(input)?,
            },
            5 => Self::LeaseGrant {
                id: LeaseId(take_signed(input)?),
                ttl: take_signed(input)?,
            },
            6 => Self::LeaseRevoke {
                id: LeaseId(take_signed(input)?),
            },
            7 => Self::Checkpoint {
                format: take(input)?.try_into().ok()?,
                identity: take(input)?.try_into().ok()?,
                segment: take(input)?,
                sequence: take(input)?,
                revision: take_signed(input)?,
            },
            8 => {
                let key = take_bytes(input)?;
                let count = take(input)?;
                let mut versions = Vec::new();
                for _ in 0..count {
                    versions.push(Version {
                        mod_revision: take_signed(input)?,
                        create_revision: take_signed(input)?,
                        version: take_signed(input)?,
                        lease: LeaseId(take_signed(input)?),
                        position: take(input)?.try_into().ok()?,
                        value: take_bytes(input)?,
                    });
                }
                Self::Key { key, versions }
            }
            9 => Self::End {
                keys: take(input)?,
                compacted: take_signed(input)?,
            },
            _ => return None,
        })
    }
}

impl Version {
    pub(super) fn is_deletion(&self) -> bool {
        self.version == 0
    }

    pub(super) fn key_value(&self, key: &Bytes) -> crate::KeyValue {
        crate::KeyValue {
            key: key.clone(),
            value: self.value.clone(),
            create_revision: Revision(self.create_revision),
            mod_revision: Revision(self.mod_revision),
            version: self.version,
            lease: self.lease,
        }
    }
}

fn put(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, number.cast_unsigned());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn take(input: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn take_signed(input: &mut &[u8]) -> Option<i64> {
    take(input).map(u64::cast_signed)
}

/// Copied, so that a small value does not hold a large file's buffer in memory.
fn take_bytes(input: &mut &[u8]) -> Option<Bytes> {
    let length = usize::try_from(take(input)?).ok()?;
    let (bytes, rest) = input.split_at_checked(length)?;
    *input = rest;
    Some(Bytes::copy_from_slice(bytes))
}
