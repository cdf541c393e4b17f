//! Forgetting the store's history: every five minutes, everything older than the last five, as upstream's API server does.
//!
//! Several servers on one store take turns without speaking to each other: the version of one key counts the compactions, and who raises it
//! first does the next one. It remembers there the revision that it saw, which is where the one after it compacts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use base::Clock;
use bytes::Bytes;
use etcd::{Compare, KeyRange, Kv, KvError, LeaseId, Op, OpResponse, RangeRequest, Revision, Txn};

/// Upstream's key; its version is the number of compactions so far.
const KEY: &str = "compact_rev_key";

/// What is older is forgotten, also where a cache still knows it: how far back a client may look must not depend on which server it asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Horizon(Arc<AtomicI64>);

impl Horizon {
    /// Whether the store as it was then has been forgotten.
    pub(crate) fn hides(&self, revision: Revision) -> bool {
        revision.0 < self.0.load(Ordering::Relaxed)
    }

    fn advance(&self, to: Revision) {
        self.0.fetch_max(to.0, Ordering::Relaxed);
    }
}

/// Compacts a store for ever.
pub(crate) struct Compactor {
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) clock: Clock,
    /// `--etcd-compaction-interval`
    pub(crate) interval: Duration,
    pub(crate) horizon: Horizon,
}

/// What one server knows of the compactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    /// How many there were.
    number: i64,
    /// Where the store was then: what is older is forgotten next.
    revision: Revision,
}

impl Compactor {
    /// Until it is dropped.
    pub(crate) async fn run(self) {
        let mut turn = Turn::default();
        loop {
            let now = self.clock.now();
            let next = now.checked_add(self.interval).unwrap_or(now);
            self.clock.sleep_until(next).await;
            match self.take(turn).await {
                Ok(next) => turn = next,
                Err(error) => tracing::warn!(%error, "the store's history could not be compacted"),
            }
        }
    }

    /// Compacts, if nobody else did so meanwhile.
    async fn take(&self, turn: Turn) -> Result<Turn, KvError> {
        let key = Bytes::from_static(KEY.as_bytes());
        let response = self
            .kv
            .txn(Txn {
                compare: vec![Compare::Version(key.clone(), turn.number)],
                success: vec![Op::Put {
                    key: key.clone(),
                    value: turn.revision.to_string().into(),
                    lease: LeaseId(0),
                }],
                failure: vec![Op::Range(RangeRequest::new(KeyRange::key(key)))],
            })
            .await?;
        let revision = response.revision;
        if !response.succeeded {
            let number = match response.responses.first() {
                Some(OpResponse::Range(range)) => range.kvs.first().map_or(0, |kv| {
                    self.horizon.advance(compacted_at(&kv.value));
                    kv.version
                }),
                _ => 0,
            };
            return Ok(Turn { number, revision });
        }
        if turn.revision > Revision(0) {
            match self.kv.compact(turn.revision).await {
                // The store has bounds of its own.
                Ok(()) | Err(KvError::Compacted { .. }) => {}
                Err(error) => return Err(error),
            }
            self.horizon.advance(turn.revision);
        }
        let number = turn.number + 1;
        Ok(Turn { number, revision })
    }
}

/// Where the last compaction was, as its server has written it.
fn compacted_at(value: &[u8]) -> Revision {
    let text = std::str::from_utf8(value).unwrap_or_default();
    Revision(text.parse().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use base::TaskGroup;
    use etcd::{Embedded, embedded::Config};

    use super::*;

    #[tokio::test]
    async fn servers_take_turns_and_keep_one_interval() {
        let dir = tempfile::tempdir().unwrap();
        let tasks = TaskGroup::default();
        let kv = Embedded::open(Config::new(dir.path()), Clock::system(), &tasks).unwrap();
        let compactor = || Compactor {
            kv: kv.clone(),
            clock: Clock::system(),
            interval: Duration::from_secs(300),
            horizon: Horizon::default(),
        };
        let compacted = || kv.status().compacted;
        let (a, b) = (compactor(), compactor());
        let first_a = a.take(Turn::default()).await.unwrap();
        assert_eq!((first_a.number, compacted()), (1, Revision(0)));
        // The other one only learns.
        let first_b = b.take(Turn::default()).await.unwrap();
        assert_eq!((first_b, compacted()), (first_a, Revision(0)));
        let second_b = b.take(first_b).await.unwrap();
        assert_eq!((second_b.number, compacted()), (2, first_b.revision));
        let second_a = a.take(first_a).await.unwrap();
        assert_eq!((second_a, compacted()), (second_b, first_b.revision));
        for server in [a, b] {
            assert!(!server.horizon.hides(first_b.revision));
            assert!(server.horizon.hides(Revision(first_b.revision.0 - 1)));
        }
        tasks.shutdown().await;
    }
}
