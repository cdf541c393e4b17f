//! The taints that follow from a node's conditions. Pure.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::health::{condition, ready_status};

pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
pub(crate) const NO_EXECUTE: &str = "NoExecute";

/// Condition, the status that taints, the taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Whether pods are to leave the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Eviction {
    /// By its conditions, as soon as the rate limit allows.
    ByCondition,
    /// Not now: what is tainted stays so, nothing new.
    Held,
    /// Not at all: nobody can be heard, so it is us who are cut off.
    Never,
}

/// Taints as they should be; nothing if they are so already. Taints of others are left alone.
pub(super) fn plan(node: &Node, eviction: Eviction, now: Timestamp) -> Option<Vec<Taint>> {
    let current = node
        .spec
        .as_ref()
        .and_then(|spec| spec.taints.clone())
        .unwrap_or_default();
    let mut taints = current.clone();
    let status = |kind: &str| condition(node, kind).map(|condition| condition.status.as_str());
    for (kind, tainting, key) in BY_CONDITION {
        set(
            &mut taints,
            key,
            NO_SCHEDULE,
            status(kind) == Some(tainting),
            now,
        );
    }
    let unschedulable = node
        .spec
        .as_ref()
        .and_then(|spec| spec.unschedulable)
        .unwrap_or_default();
    set(&mut taints, UNSCHEDULABLE, NO_SCHEDULE, unschedulable, now);
    for (key, tainting) in [(NOT_READY, "False"), (UNREACHABLE, "Unknown")] {
        let holds = ready_status(node) == Some(tainting);
        match eviction {
            Eviction::ByCondition => set(&mut taints, key, NO_EXECUTE, holds, now),
            Eviction::Held if holds => {}
            Eviction::Held | Eviction::Never => set(&mut taints, key, NO_EXECUTE, false, now),
        }
    }
    (taints != current).then_some(taints)
}

/// Whether its pods would have to leave, and have not been told yet.
pub(super) fn awaits_eviction(node: &Node) -> bool {
    let key = match ready_status(node) {
        Some("False") => NOT_READY,
        Some("Unknown") => UNREACHABLE,
        _ => return false,
    };
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    !taints
        .into_iter()
        .any(|taint| taint.key == key && taint.effect == NO_EXECUTE)
}

fn set(taints: &mut Vec<Taint>, key: &str, effect: &str, wanted: bool, now: Timestamp) {
    let is_it = |taint: &Taint| taint.key == key && taint.effect == effect;
    if !wanted {
        taints.retain(|taint| !is_it(taint));
    } else if !taints.iter().any(is_it) {
        taints.push(Taint {
            key: key.to_owned(),
            effect: effect.to_owned(),
            time_added: Some(Time(now)),
            value: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{NodeCondition, NodeSpec, NodeStatus};

    use super::*;

    fn node(conditions: &[(&str, &str)], taints: &[(&str, &str)]) -> Node {
        let conditions = conditions
            .iter()
            .map(|(kind, status)| NodeCondition {
                type_: (*kind).to_owned(),
                status: (*status).to_owned(),
                ..NodeCondition::default()
            })
            .collect();
        let taints = taints
            .iter()
            .map(|(key, effect)| Taint {
                key: (*key).to_owned(),
                effect: (*effect).to_owned(),
                ..Taint::default()
            })
            .collect();
        Node {
            spec: Some(NodeSpec {
                taints: Some(taints),
                ..NodeSpec::default()
            }),
            status: Some(NodeStatus {
                conditions: Some(conditions),
                ..NodeStatus::default()
            }),
            ..Node::default()
        }
    }

    fn planned(node: &Node, eviction: Eviction) -> Option<Vec<(String, String)>> {
        let taints = plan(node, eviction, Timestamp::UNIX_EPOCH)?;
        Some(
            taints
                .into_iter()
                .map(|taint| (taint.key, taint.effect))
                .collect(),
        )
    }

    fn named(taints: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(
            taints
                .iter()
                .map(|(key, effect)| ((*key).to_owned(), (*effect).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn conditions_taint() {
        let ready = node(&[("Ready", "True")], &[("mine", NO_EXECUTE)]);
        assert_eq!(planned(&ready, Eviction::ByCondition), None);
        assert_eq!(
            planned(&node(&[], &[]), Eviction::ByCondition),
            None,
            "it has just registered"
        );

        let silent = node(
            &[("Ready", "Unknown"), ("DiskPressure", "Unknown")],
            &[("mine", NO_EXECUTE)],
        );
        assert!(awaits_eviction(&silent));
        let both = [
            ("mine", NO_EXECUTE),
            (UNREACHABLE, NO_SCHEDULE),
            (UNREACHABLE, NO_EXECUTE),
        ];
        assert_eq!(planned(&silent, Eviction::ByCondition), named(&both));
        assert_eq!(planned(&silent, Eviction::Held), named(&both[..2]));
        assert_eq!(planned(&silent, Eviction::Never), named(&both[..2]));

        let tainted = node(&[("Ready", "Unknown")], &both);
        assert_eq!(
            planned(&tainted, Eviction::Held),
            None,
            "what is tainted stays so"
        );
        assert_eq!(planned(&tainted, Eviction::Never), named(&both[..2]));
        let back = node(&[("Ready", "True")], &both);
        assert_eq!(planned(&back, Eviction::Held), named(&both[..1]));
        let changed = node(&[("Ready", "False")], &both);
        let expected = [
            ("mine", NO_EXECUTE),
            (NOT_READY, NO_SCHEDULE),
            (NOT_READY, NO_EXECUTE),
        ];
        assert_eq!(planned(&changed, Eviction::ByCondition), named(&expected));
    }
}
