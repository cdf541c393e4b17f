//! What a controller has done and its informer has not shown yet.
//!
//! A controller that created three pods must not create three more because its store is a moment behind. It notes what it expects to
//! see, and leaves the object alone until it has seen that, or five minutes have gone (an event was missed).

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use client::ObjectKey;
use tokio::time::Instant;

/// How long an unseen expectation holds a controller back.
const EXPIRES: Duration = Duration::from_secs(5 * 60);

/// Expectations by controlling object. Bounded by the number of objects the controller has; [`Expectations::forget`] takes one out.
#[derive(Default)]
pub(crate) struct Expectations {
    by_owner: Mutex<HashMap<ObjectKey, Expected>>,
}

struct Expected {
    creations: i64,
    /// Pods by key: a deletion may be seen several times (mark, then removal), and counts once.
    deletions: HashSet<ObjectKey>,
    since: Instant,
}

impl Expectations {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Expected>> {
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the owner may act: all was seen, or waited for long enough.
    pub(crate) fn satisfied(&self, owner: &ObjectKey) -> bool {
        self.lock().get(owner).is_none_or(|expected| {
            (expected.creations <= 0 && expected.deletions.is_empty())
                || expected.since.elapsed() > EXPIRES
        })
    }

    /// So many creations are about to happen.
    pub(crate) fn expect_creations(&self, owner: &ObjectKey, count: usize) {
        let creations = i64::try_from(count).unwrap_or(i64::MAX);
        self.lock().insert(
            owner.clone(),
            Expected {
                creations,
                deletions: HashSet::new(),
                since: Instant::now(),
            },
        );
    }

    /// These deletions are about to happen.
    pub(crate) fn expect_deletions(
        &self,
        owner: &ObjectKey,
        keys: impl IntoIterator<Item = ObjectKey>,
    ) {
        let deletions = keys.into_iter().collect();
        self.lock().insert(
            owner.clone(),
            Expected {
                creations: 0,
                deletions,
                since: Instant::now(),
            },
        );
    }

    /// A creation was seen, or will not happen.
    pub(crate) fn creation_observed(&self, owner: &ObjectKey) {
        if let Some(expected) = self.lock().get_mut(owner) {
            expected.creations -= 1;
        }
    }

    /// A deletion was seen, or will not happen.
    pub(crate) fn deletion_observed(&self, owner: &ObjectKey, key: &ObjectKey) {
        if let Some(expected) = self.lock().get_mut(owner) {
            expected.deletions.remove(key);
        }
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &ObjectKey) {
        self.lock().remove(owner);
    }

    /// Events were missed: what is expected may have happened unseen.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_owner_waits_for_what_it_did() {
        let expectations = Expectations::default();
        let owner = ObjectKey::new("ns", "web");
        let pod = ObjectKey::new("ns", "web-1");
        assert!(expectations.satisfied(&owner));
        expectations.expect_creations(&owner, 2);
        expectations.creation_observed(&owner);
        assert!(!expectations.satisfied(&owner));
        expectations.creation_observed(&owner);
        assert!(expectations.satisfied(&owner));

        expectations.expect_deletions(&owner, [pod.clone()]);
        assert!(!expectations.satisfied(&owner));
        expectations.deletion_observed(&owner, &pod);
        expectations.deletion_observed(&owner, &pod);
        assert!(expectations.satisfied(&owner));

        expectations.expect_creations(&owner, 1);
        tokio::time::advance(EXPIRES + Duration::from_secs(1)).await;
        assert!(expectations.satisfied(&owner), "an event was missed");
    }
}
