//! TaintToleration: a node's taints keep pods away that do not tolerate them; `PreferNoSchedule` only makes the node less liked.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Taint;

use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, Plugin, Score, Verdict, normalize_by_maximum,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
};

pub(super) struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::NodeAdded,
            EventKind::NodeTaints,
            EventKind::PodTolerations,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        event.node().is_none_or(|node| is_tolerated(pod, &node))
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Filter for TaintToleration {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if is_tolerated(pod, node) {
            Verdict::Success
        } else {
            Verdict::unresolvable("node(s) had untolerated taint(s)")
        }
    }
}

/// Whether the pod tolerates all of a node's taints that keep pods away.
pub(super) fn is_tolerated(pod: &PodInfo, node: &NodeInfo) -> bool {
    node.taints()
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
        .all(|taint| tolerates(pod, taint))
}

impl Score for TaintToleration {
    /// How many taints the pod would rather avoid.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let disliked = node
            .taints()
            .iter()
            .filter(|taint| taint.effect == "PreferNoSchedule" && !tolerates(pod, taint))
            .count();
        i64::try_from(disliked).unwrap_or(i64::MAX)
    }

    fn normalize(&self, _: &CycleState, _: &[Arc<NodeInfo>], scores: &mut [i64]) {
        normalize_by_maximum(scores, true);
    }
}

/// Whether one of the pod's tolerations covers `taint`.
pub(super) fn tolerates(pod: &PodInfo, taint: &Taint) -> bool {
    pod.spec()
        .tolerations
        .iter()
        .flatten()
        .any(|toleration| client::tolerates(toleration, taint))
}
