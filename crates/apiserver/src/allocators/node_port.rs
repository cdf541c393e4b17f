//! Node ports: one bitmap in the store, as upstream keeps it (`/registry/ranges/servicenodeports`, a `RangeAllocation`), changed by
//! compare-and-swap, so that servers, ours or upstream's, share one range.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use etcd::{Compare, KeyRange, Kv, KvError, LeaseId, Op, RangeRequest, Revision, Txn};
use serde_json::{Value, json};

const KEY: &str = "/registry/ranges/servicenodeports";
/// A swap that loses is tried again so often; each loss is another server's win.
const ATTEMPTS: usize = 64;

/// `30000-32767`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// First port.
    pub first: u16,
    /// Last port.
    pub last: u16,
}

impl Default for PortRange {
    fn default() -> Self {
        Self {
            first: 30000,
            last: 32767,
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (first, last) = text.split_once('-')?;
            Some(Self {
                first: first.trim().parse().ok()?,
                last: last.trim().parse().ok()?,
            })
        };
        parse()
            .filter(|range| range.first > 0 && range.first <= range.last)
            .ok_or_else(|| format!("{text:?} is not a valid port range"))
    }
}

impl PortRange {
    pub(super) fn size(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    fn index(self, port: u16) -> Option<usize> {
        (self.first..=self.last)
            .contains(&port)
            .then(|| usize::from(port - self.first))
    }

    fn port(self, index: usize) -> u16 {
        self.first + u16::try_from(index).unwrap_or(u16::MAX - self.first)
    }

    /// The lower part is for those who choose: a thirty-second, between 16 and 128.
    fn static_part(self) -> usize {
        let size = self.size();
        if size < 16 {
            0
        } else {
            (size / 32).clamp(16, 128)
        }
    }
}

/// Why a port was not handed out.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Somebody has it.
    #[error("provided port is already allocated")]
    Allocated,
    /// It is not of the range.
    #[error("provided port is not in the valid range. The range of valid ports is {0}")]
    NotInRange(PortRange),
    /// All are taken.
    #[error("range is full")]
    Full,
    /// The store refused, or others were faster every time.
    #[error("{0}")]
    Store(String),
}

impl From<KvError> for PortError {
    fn from(error: KvError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Which ports are taken: bit `i` is port `first + i`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bitmap(Vec<u8>);

impl Bitmap {
    fn get(&self, index: usize) -> bool {
        self.0
            .get(index / 8)
            .is_some_and(|byte| byte & (1 << (index % 8)) != 0)
    }

    pub(super) fn set(&mut self, index: usize, taken: bool) {
        let byte = index / 8;
        if byte >= self.0.len() {
            self.0.resize(byte + 1, 0);
        }
        let bit = 1 << (index % 8);
        if taken {
            self.0[byte] |= bit
        } else {
            self.0[byte] &= !bit
        }
    }

    /// The bytes of upstream's big integer: most significant first, without leading zeros.
    fn to_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .rev()
            .copied()
            .skip_while(|byte| *byte == 0)
            .collect()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.iter().rev().copied().collect())
    }
}

/// Hands out the ports of the range.
#[derive(Clone)]
pub struct NodePortAllocator {
    range: PortRange,
    kv: Arc<dyn Kv>,
}

impl NodePortAllocator {
    /// Of `range`, kept in `kv`.
    pub fn new(range: PortRange, kv: Arc<dyn Kv>) -> Self {
        Self { range, kv }
    }

    /// The range.
    pub fn range(&self) -> PortRange {
        self.range
    }

    /// Takes this port. With `dry_run` it is only looked at.
    pub async fn allocate(&self, port: u16, dry_run: bool) -> Result<(), PortError> {
        let index = match self.range.index(port) {
            Some(index) => index,
            // A dry run does not look at the range, as upstream.
            None if dry_run => return Ok(()),
            None => return Err(PortError::NotInRange(self.range)),
        };
        self.change(dry_run, |taken| {
            if taken.get(index) {
                return Err(PortError::Allocated);
            }
            taken.set(index, true);
            Ok(())
        })
        .await
    }

    /// What a dry run that asks for any port is shown: upstream's guess, one more than the highest it has been given.
    pub fn guess(given: impl Iterator<Item = u16>) -> u16 {
        const BEFORE_THE_FIRST: u16 = 32_768;
        given.max().unwrap_or(BEFORE_THE_FIRST).saturating_add(1)
    }

    /// Takes a free port: of the upper part from a random place on, and when that is full, of the lower.
    pub async fn allocate_next(&self) -> Result<u16, PortError> {
        let (size, lower) = (self.range.size(), self.range.static_part());
        let seed = uuid::Uuid::new_v4().as_u128() as usize;
        self.change(false, |taken| {
            for (start, length) in [(lower, size - lower), (0, lower)] {
                let free = (0..length)
                    .map(|step| start + (seed % length + step) % length)
                    .find(|index| !taken.get(*index));
                if let Some(index) = free {
                    taken.set(index, true);
                    return Ok(self.range.port(index));
                }
            }
            Err(PortError::Full)
        })
        .await
    }

    /// Gives ports back.
    pub async fn release(&self, ports: &[u16]) {
        let indices: Vec<usize> = ports
            .iter()
            .filter_map(|port| self.range.index(*port))
            .collect();
        if indices.is_empty() {
            return;
        }
        let outcome = self
            .change(false, |taken| {
                indices.iter().for_each(|index| taken.set(*index, false));
                Ok(())
            })
            .await;
        if let Err(error) = outcome {
            // Repair finds them.
            tracing::warn!(?ports, %error, "node ports could not be given back");
        }
    }

    /// Makes the stored bitmap that of exactly these ports, if it still is what it was when they were listed.
    pub(super) async fn replace(
        &self,
        seen: &Stored,
        ports: impl Iterator<Item = u16>,
    ) -> Result<bool, PortError> {
        let mut wanted = Bitmap::default();
        ports
            .filter_map(|port| self.range.index(port))
            .for_each(|index| wanted.set(index, true));
        if wanted.to_bytes() == seen.taken.to_bytes() {
            return Ok(true);
        }
        self.store(seen.revision, &wanted).await
    }

    /// The bitmap as it is stored.
    pub(super) async fn load(&self) -> Result<Stored, PortError> {
        let found = self
            .kv
            .range(RangeRequest::new(KeyRange::key(KEY)))
            .await?
            .kvs
            .into_iter()
            .next();
        let Some(found) = found else {
            return Ok(Stored::default());
        };
        let object: Value = serde_json::from_slice(&found.value).map_err(|error| {
            PortError::Store(format!(
                "the stored range of node ports cannot be read: {error}"
            ))
        })?;
        let data = object["data"].as_str().unwrap_or_default();
        let data = BASE64_STANDARD
            .decode(data)
            .map_err(|error| PortError::Store(error.to_string()))?;
        // Another range than the flag's: repair will make it anew from the Services; until then nothing is known to be taken.
        let same = object["range"] == self.range.to_string();
        let taken = if same {
            Bitmap::from_bytes(&data)
        } else {
            Bitmap::default()
        };
        Ok(Stored {
            revision: found.mod_revision,
            taken,
        })
    }

    async fn store(&self, revision: Revision, taken: &Bitmap) -> Result<bool, PortError> {
        let object = json!({
            "kind": "RangeAllocation", "apiVersion": "v1", "metadata": {},
            "range": self.range.to_string(), "data": BASE64_STANDARD.encode(taken.to_bytes()),
        });
        let key = Bytes::from_static(KEY.as_bytes());
        let put = Op::Put {
            key: key.clone(),
            value: object.to_string().into(),
            lease: LeaseId::default(),
        };
        let compare = vec![Compare::ModRevision(key, revision)];
        let txn = Txn {
            compare,
            success: vec![put],
            failure: Vec::new(),
        };
        Ok(self.kv.txn(txn).await?.succeeded)
    }

    /// Reads, changes, swaps; from the beginning when somebody was faster.
    async fn change<T>(
        &self,
        dry_run: bool,
        change: impl Fn(&mut Bitmap) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        for _ in 0..ATTEMPTS {
            let mut stored = self.load().await?;
            let outcome = change(&mut stored.taken)?;
            if dry_run || self.store(stored.revision, &stored.taken).await? {
                return Ok(outcome);
            }
        }
        Err(PortError::Store(
            "the range of node ports is changed by others all the time".to_owned(),
        ))
    }
}

/// The bitmap and its revision.
#[derive(Default)]
pub(super) struct Stored {
    revision: Revision,
    taken: Bitmap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitmaps_are_upstreams_big_integers() {
        let mut bitmap = Bitmap::default();
        bitmap.set(0, true);
        bitmap.set(9, true);
        assert_eq!(bitmap.to_bytes(), [2, 1]);
        let back = Bitmap::from_bytes(&[2, 1]);
        assert!(back.get(0) && back.get(9) && !back.get(1) && !back.get(100));
        bitmap.set(9, false);
        assert_eq!(bitmap.to_bytes(), [1]);
    }

    #[test]
    fn ranges_are_read_and_halved() {
        let range: PortRange = "30000-32767".parse().unwrap();
        assert_eq!((range.size(), range.static_part()), (2768, 86));
        assert!("2-1".parse::<PortRange>().is_err());
        assert!("x".parse::<PortRange>().is_err());
    }
}
