//! How fast nodes may be evicted, by what else is broken in their zone. Pure.
//!
//! If a whole zone is silent the trouble is likely the network's, not the nodes'; if all zones are, it is ours.

use std::collections::HashMap;

use jiff::Timestamp;

/// `--node-eviction-rate`, a second.
const RATE: f64 = 0.1;
/// `--secondary-node-eviction-rate`, in a zone that is largely broken.
const SECONDARY_RATE: f64 = 0.01;
/// `--large-cluster-size-threshold`: in smaller zones nothing is evicted when they are largely broken.
const LARGE_ZONE: usize = 50;
/// `--unhealthy-zone-threshold`.
const UNHEALTHY: f64 = 0.55;

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
    pub(super) fn state(self) -> ZoneState {
        let total = self.ready + self.not_ready;
        // Counts of nodes are far below what a double holds exactly.
        #[allow(clippy::cast_precision_loss, reason = "see above")]
        let fraction = self.not_ready as f64 / total.max(1) as f64;
        if self.ready == 0 && self.not_ready > 0 {
            ZoneState::FullDisruption
        } else if self.not_ready > 2 && fraction >= UNHEALTHY {
            ZoneState::PartialDisruption
        } else {
            ZoneState::Normal
        }
    }

    /// Evictions a second.
    fn rate(self) -> f64 {
        match self.state() {
            ZoneState::Normal | ZoneState::FullDisruption => RATE,
            ZoneState::PartialDisruption if self.ready + self.not_ready > LARGE_ZONE => {
                SECONDARY_RATE
            }
            ZoneState::PartialDisruption => 0.0,
        }
    }
}

/// One token bucket a zone, of one token.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    buckets: HashMap<String, (f64, Timestamp)>,
}

impl Limiter {
    /// Whether one more node of the zone may be evicted now.
    pub(super) fn try_take(&mut self, zone_name: &str, zone: Zone, now: Timestamp) -> bool {
        let rate = zone.rate();
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
                Zone { ready, not_ready }.state(),
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
