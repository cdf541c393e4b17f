//! Whether the rules are up to date, as `/healthz` and `/livez` of kube-proxy tell it: changes that have waited for too long to be written make
//! the proxy ill; having nothing to write does not.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base::Clock;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// After this long an unwritten change is an illness: twice upstream's sync period.
const PATIENCE: Duration = Duration::from_secs(60);

/// The families by the names that they have in Services.
pub(crate) const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

#[derive(Clone, Copy, Debug, Default)]
struct Family {
    written: Option<Timestamp>,
    /// Since when the oldest change waits.
    waits: Option<Timestamp>,
}

/// What the shell says of itself. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct ProxyHealth {
    families: Arc<Mutex<[Family; 2]>>,
    clock: Clock,
}

impl ProxyHealth {
    /// Nothing has been written yet, and nothing waits.
    pub fn new(clock: Clock) -> Self {
        Self {
            families: Arc::default(),
            clock,
        }
    }

    fn families(&self) -> MutexGuard<'_, [Family; 2]> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something changed that has to be written.
    pub(crate) fn queued(&self) {
        let now = self.clock.now();
        for family in self.families().iter_mut() {
            family.waits.get_or_insert(now);
        }
    }

    /// All is written, of one family.
    pub(crate) fn updated(&self, family: usize) {
        let now = self.clock.now();
        self.families()[family] = Family {
            written: Some(now),
            waits: None,
        };
    }

    /// Whether all is well, and upstream's document about it; `eligible` is whether new connections are welcome on this node.
    pub fn report(&self, eligible: Option<bool>) -> (bool, Value) {
        let now = self.clock.now();
        let patience = SignedDuration::try_from(PATIENCE).unwrap_or(SignedDuration::MAX);
        let families = *self.families();
        let (mut healthy, mut status) = (true, Map::new());
        for (name, family) in FAMILIES.into_iter().zip(families) {
            let Some(written) = family.written else {
                continue;
            };
            let well = family
                .waits
                .is_none_or(|since| now.duration_since(since) < patience);
            healthy &= well;
            status.insert(
                name.to_owned(),
                json!({ "lastUpdated": written.to_string(), "healthy": well }),
            );
        }
        let all_well = healthy && eligible.unwrap_or(true);
        // Who is well is up to date.
        let last = families.iter().filter_map(|family| family.written).max();
        let last = match (all_well, last) {
            (true, _) => now.to_string(),
            (false, Some(last)) => last.to_string(),
            (false, None) => "0001-01-01T00:00:00Z".to_owned(),
        };
        let mut document = json!({
            "lastUpdated": last,
            "currentTime": now.to_string(),
        });
        if let Some(eligible) = eligible {
            document["nodeEligible"] = eligible.into();
        }
        document["healthy"] = healthy.into();
        document["status"] = status.into();
        (all_well, document)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_not_written_is_an_illness() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let health = ProxyHealth::new(clock.clone());
        assert!(health.report(None).0, "it is starting");
        health.queued();
        health.updated(0);
        health.updated(1);
        clock.advance(Duration::from_secs(600));
        assert!(health.report(None).0, "nothing waits");
        health.queued();
        clock.advance(Duration::from_secs(30));
        health.queued();
        health.updated(0);
        assert!(health.report(None).0);
        clock.advance(Duration::from_secs(31));
        let (well, document) = health.report(Some(true));
        assert!(!well);
        assert_eq!(document["status"]["IPv4"]["healthy"], true);
        assert_eq!(document["status"]["IPv6"]["healthy"], false);
        assert_eq!(document["nodeEligible"], true);
        health.updated(1);
        assert!(!health.report(Some(false)).0, "the node is to go");
        assert!(health.report(Some(true)).0);
    }
}
