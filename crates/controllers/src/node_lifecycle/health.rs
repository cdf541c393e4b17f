//! Whether a node lives: what was heard of it, and when. Pure.
//!
//! A node is heard of when its lease is renewed or its status changes. Times are this process' own: how old a timestamp of the node's
//! clock looks says nothing.

use std::time::Duration;

use client::Object as _;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Node, NodeCondition},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};

/// Conditions that mean nothing once the kubelet is silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Grace periods.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    /// For a node that has reported.
    pub(super) monitor: Duration,
    /// For one that has not yet.
    pub(super) startup: Duration,
}

/// What is known of one node.
#[derive(Clone, Debug)]
pub(super) struct Health {
    heard_at: Timestamp,
    heartbeat: Option<Time>,
    status: Option<String>,
    renewed: Option<MicroTime>,
}

/// A condition of a node.
pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status
        .as_ref()?
        .conditions
        .as_ref()?
        .iter()
        .find(|condition| condition.type_ == kind)
}

/// `True`, `False` or `Unknown`; nothing if nobody has said anything yet, which is no reason to do anything.
pub(super) fn ready_status(node: &Node) -> Option<&str> {
    condition(node, "Ready").map(|condition| condition.status.as_str())
}

impl Health {
    /// Takes in what the node and its lease say now.
    pub(super) fn observe(
        known: Option<&Self>,
        node: &Node,
        lease: Option<&Lease>,
        now: Timestamp,
    ) -> Self {
        let ready = condition(node, "Ready");
        let heartbeat = ready.and_then(|ready| ready.last_heartbeat_time.clone());
        let status = ready.map(|ready| ready.status.clone());
        let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.clone());
        let created = node
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(now, |time| time.0);
        let heard_at = match known {
            // Seen for the first time (or after our own restart): the benefit of the doubt, unless it never reported.
            None if ready.is_some() => now,
            None => created,
            // Our own `Unknown` is no sign of life.
            Some(known) => {
                let reported = heartbeat != known.heartbeat && heartbeat.is_some();
                let renewed_since = renewed.as_ref() > known.renewed.as_ref();
                if reported || renewed_since {
                    now
                } else {
                    known.heard_at
                }
            }
        };
        Self {
            heard_at,
            heartbeat,
            status,
            renewed,
        }
    }

    /// Counts from now, after a time when nothing could be heard.
    pub(super) fn reset(&mut self, now: Timestamp) {
        self.heard_at = now;
    }

    /// Whether nothing was heard for too long.
    pub(super) fn is_silent(&self, grace: Grace, now: Timestamp) -> bool {
        let limit = if self.status.is_some() {
            grace.monitor
        } else {
            grace.startup
        };
        now > self.heard_at.checked_add(limit).unwrap_or(Timestamp::MAX)
    }
}

/// The node with all that its kubelet reports set to `Unknown`; nothing if that changes nothing.
pub(super) fn with_unknown_conditions(node: &Node, now: Timestamp) -> Option<Node> {
    let mut changed = node.clone();
    let conditions = changed
        .status
        .get_or_insert_default()
        .conditions
        .get_or_insert_default();
    for kind in REPORTED {
        match conditions
            .iter_mut()
            .find(|condition| condition.type_ == kind)
        {
            None => conditions.push(NodeCondition {
                type_: kind.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
            Some(condition) if condition.status != "Unknown" => {
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            Some(_) => {}
        }
    }
    (changed.status != node.status).then_some(changed)
}

/// For the log.
pub(super) fn describe(node: &Node) -> String {
    format!(
        "{} ({})",
        node.name(),
        ready_status(node).unwrap_or("no status")
    )
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use k8s_openapi::{
        api::{coordination::v1::LeaseSpec, core::v1::NodeStatus},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    const GRACE: Grace = Grace {
        monitor: Duration::from_secs(50),
        startup: Duration::from_secs(60),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH
            .checked_add(SignedDuration::from_secs(second))
            .unwrap()
    }

    fn node(ready: Option<&str>, heartbeat: i64) -> Node {
        let ready = ready.map(|status| NodeCondition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            last_heartbeat_time: Some(Time(at(heartbeat))),
            ..NodeCondition::default()
        });
        Node {
            metadata: ObjectMeta {
                creation_timestamp: Some(Time(at(0))),
                ..ObjectMeta::default()
            },
            status: Some(NodeStatus {
                conditions: ready.map(|ready| vec![ready]),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }

    fn lease(renewed: i64) -> Lease {
        let spec = LeaseSpec {
            renew_time: Some(MicroTime(at(renewed))),
            ..LeaseSpec::default()
        };
        Lease {
            spec: Some(spec),
            ..Lease::default()
        }
    }

    #[test]
    fn a_renewed_lease_keeps_a_node_alive() {
        let node = node(Some("True"), 0);
        let first = Health::observe(None, &node, Some(&lease(0)), at(100));
        assert!(!first.is_silent(GRACE, at(150)));
        assert!(first.is_silent(GRACE, at(151)));
        let renewed = Health::observe(Some(&first), &node, Some(&lease(10)), at(140));
        assert!(!renewed.is_silent(GRACE, at(190)));
        let same = Health::observe(Some(&renewed), &node, Some(&lease(10)), at(180));
        assert!(same.is_silent(GRACE, at(191)), "the same lease is no news");
    }

    #[test]
    fn a_node_that_never_reported_has_the_startup_grace() {
        let node = node(None, 0);
        let health = Health::observe(None, &node, None, at(55));
        assert!(!health.is_silent(GRACE, at(60)));
        assert!(health.is_silent(GRACE, at(61)));
        let unknown = with_unknown_conditions(&node, at(61)).unwrap();
        let ready = condition(&unknown, "Ready").unwrap();
        assert_eq!(ready.reason.as_deref(), Some("NodeStatusNeverUpdated"));
        assert_eq!(with_unknown_conditions(&unknown, at(70)), None);
    }

    #[test]
    fn silence_makes_everything_unknown() {
        let node = node(Some("True"), 0);
        let unknown = with_unknown_conditions(&node, at(61)).unwrap();
        let ready = condition(&unknown, "Ready").unwrap();
        assert_eq!(
            (ready.status.as_str(), ready.reason.as_deref()),
            ("Unknown", Some("NodeStatusUnknown"))
        );
        // What we wrote ourselves is not taken for a sign of life.
        let first = Health::observe(None, &node, None, at(0));
        let after = Health::observe(Some(&first), &unknown, None, at(62));
        assert!(after.is_silent(GRACE, at(63)));
    }
}
