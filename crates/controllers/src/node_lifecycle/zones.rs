//! How fast nodes may be evicted, by what else is broken in their zone. Pure.
//!
//! If a whole zone is silent the trouble is likely the network's, not the nodes'; if all zones are, it is ours.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::config::NodeEviction;

/// How broken a zone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneState {
    /// Few nodes are not ready.
    Normal,
    /// More than half of them, and at least three.
    PartialDisruption,
    /// All of them.
    FullDisruption,
}

/// Ready and other nodes of a zone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zone {
    pub(super) ready: usize,
    pub(super) not_ready: usize,
}

impl Zone {
    pub(super) fn state(self, eviction: &NodeEviction) -> ZoneState {
        let total = self.ready + self.not_ready;
        // Counts of nodes are far below what a double holds exactly.
        #[allow(clippy::cast_precision_loss, reason = "see above")]
        let fraction = self.not_ready as f64 / total.max(1) as f64;
        if self.ready == 0 && self.not_ready > 0 {
            ZoneState::FullDisruption
        } else if self.not_ready > 2 && fraction >= eviction.unhealthy_zone_threshold {
            ZoneState::PartialDisruption
        } else {
            ZoneState::Normal
        }
    }

    /// Evictions a second.
    fn rate(self, eviction: &NodeEviction) -> f64 {
        let large = self.ready + self.not_ready > eviction.large_cluster_size_threshold;
        match self.state(eviction) {
            ZoneState::Normal | ZoneState::FullDisruption => eviction.rate,
            ZoneState::PartialDisruption if large => eviction.secondary_rate,
            ZoneState::PartialDisruption => 0.0,
        }
    }
}

/// One token bucket a zone, of one token.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    eviction: NodeEviction,
    buckets: HashMap<String, (f64, Timestamp)>,
}

impl Limiter {
    /// Full buckets.
    pub(super) fn new(eviction: NodeEviction) -> Self {
        Self {
            eviction,
            buckets: HashMap::new(),
        }
    }

    /// Whether one more node of the zone may be evicted now.
    pub(super) fn try_take(&mut self, zone_name: &str, zone: Zone, now: Timestamp) -> bool {
        let rate = zone.rate(&self.eviction);
        let (tokens, since) = self
            .buckets
            .entry(zone_name.to_owned())
            .or_insert((1.0, now));
        let earned = now.duration_since(*since).as_secs_f64().max(0.0) * rate;
        *tokens = (*tokens + earned).min(1.0);
        *since = now;
        if rate == 0.0 || *tokens < 1.0 {
            return false;
        }
        *tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states() {
        let table = [
            (3, 0, ZoneState::Normal),
            (0, 0, ZoneState::Normal),
            (1, 2, ZoneState::Normal),
            (2, 3, ZoneState::PartialDisruption),
            (0, 1, ZoneState::FullDisruption),
        ];
        for (ready, not_ready, expected) in table {
            assert_eq!(
                Zone { ready, not_ready }.state(&NodeEviction::default()),
                expected,
                "{ready} ready, {not_ready} not"
            );
        }
    }

    #[test]
    fn one_node_in_ten_seconds() {
        let mut limiter = Limiter::default();
        let at = |second| Timestamp::from_second(second).unwrap();
        let zone = Zone {
            ready: 8,
            not_ready: 2,
        };
        assert!(limiter.try_take("a", zone, at(0)));
        assert!(!limiter.try_take("a", zone, at(5)));
        assert!(limiter.try_take("b", zone, at(5)));
        assert!(limiter.try_take("a", zone, at(11)));
        let broken = Zone {
            ready: 2,
            not_ready: 8,
        };
        assert!(!limiter.try_take("a", broken, at(1000)));
    }
}
