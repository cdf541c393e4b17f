//! Which Endpoints the informer still shows although this controller has written newer ones.
//!
//! A plan made from such an object would be refused as a conflict, and tell users of a failure that is none. Upstream keeps the same
//! record for updates; here it covers creations, too. What is remembered is believed for a few seconds only, so that an object that
//! came and went unseen cannot stop its Service's reconciling.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use client::ObjectKey;
use jiff::Timestamp;

/// An informer that is further behind than this has lost its watch: a conflict is then the smaller evil.
const BELIEVED: Duration = Duration::from_secs(5);

/// What was replaced: a resourceVersion, or the absence of an object.
#[derive(Debug, PartialEq, Eq)]
struct Replaced {
    resource_version: Option<String>,
    at: Timestamp,
}

/// Bounded by the Services that have Endpoints: an entry goes with its Service.
#[derive(Debug, Default)]
pub(super) struct Superseded {
    entries: Mutex<HashMap<ObjectKey, Replaced>>,
}

impl Superseded {
    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Replaced>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What had `resource_version` (or was not there) has been replaced by us.
    pub(super) fn replaced(
        &self,
        key: &ObjectKey,
        resource_version: Option<String>,
        at: Timestamp,
    ) {
        let replaced = Replaced {
            resource_version,
            at,
        };
        self.lock().insert(key.clone(), replaced);
    }

    /// Whether what the informer shows is what we replaced.
    pub(super) fn is_shown(
        &self,
        key: &ObjectKey,
        resource_version: Option<&str>,
        now: Timestamp,
    ) -> bool {
        self.lock().get(key).is_some_and(|replaced| {
            let age = Duration::try_from(now.duration_since(replaced.at)).unwrap_or_default();
            replaced.resource_version.as_deref() == resource_version && age < BELIEVED
        })
    }

    /// The object or its Service is gone.
    pub(super) fn forget(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_replaced_is_known_for_a_while() {
        let (superseded, key) = (Superseded::default(), ObjectKey::new("default", "web"));
        let now = Timestamp::UNIX_EPOCH;
        assert!(!superseded.is_shown(&key, None, now));
        superseded.replaced(&key, None, now);
        assert!(superseded.is_shown(&key, None, now));
        assert!(!superseded.is_shown(&key, Some("7"), now));
        superseded.replaced(&key, Some("7".to_owned()), now);
        assert!(superseded.is_shown(&key, Some("7"), now));
        assert!(!superseded.is_shown(&key, Some("8"), now));
        assert!(!superseded.is_shown(&key, Some("7"), now + BELIEVED));
        superseded.forget(&key);
        assert!(!superseded.is_shown(&key, Some("7"), now));
    }
}
