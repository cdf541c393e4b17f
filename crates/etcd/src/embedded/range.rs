//! Reading ranges beside the writer: a long one is read in parts, so that no lock is held for long. All parts are read at the same
//! revision, which versions make possible; should it be compacted meanwhile, a read of the present starts again.

use super::{shared::Shared, store};
use crate::{KvError, RangeRequest, RangeResponse, Revision};

/// Keys read under one lock.
const PART: usize = 1024;
/// How often a read of the present starts again.
const TRIES: usize = 3;

impl Shared {
    /// Reads a range at what is durable.
    pub(super) async fn range(&self, request: &RangeRequest) -> Result<RangeResponse, KvError> {
        for _ in 0..TRIES {
            let now = self.durable();
            match self.range_at(request, now).await {
                Err(KvError::Compacted { .. }) if store::read_at(request, now) == now => {}
                answer => return answer,
            }
        }
        // Compaction keeps overtaking: for once in one go. Under the lock, the present is not compacted.
        let store = self.read();
        store.range(request, self.durable())
    }

    async fn range_at(
        &self,
        request: &RangeRequest,
        now: Revision,
    ) -> Result<RangeResponse, KvError> {
        let requested = store::read_at(request, now);
        let mut response = store::empty(now);
        let mut after = None;
        loop {
            after = {
                let store = self.read();
                store.check_range(request, now)?;
                let compacted = store.compacted();
                if requested < compacted {
                    return Err(KvError::Compacted {
                        requested,
                        compacted,
                    });
                }
                store.read_part(request, after.as_ref(), PART, &mut response)
            };
            if after.is_none() {
                return Ok(response);
            }
            base::requeue().await;
        }
    }
}
