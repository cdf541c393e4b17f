//! NodeResourcesFit: what a pod asks for must be free; the emptier node is the better one (`LeastAllocated`).

use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, MAX_NODE_SCORE, Plugin, Score, Verdict,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
};

pub(super) struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::NodeAdded,
            EventKind::NodeAllocatable,
            EventKind::AssignedPodRemoved,
            EventKind::PodChanged,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeUpdated(node, _) => {
                let empty = NodeInfo::new(std::sync::Arc::clone(node));
                insufficient(pod, &empty)
                    .iter()
                    .all(|shortage| shortage.resolvable)
            }
            _ => true,
        }
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

/// A resource that there is too little of.
struct Shortage {
    reason: String,
    /// Whether the node would have enough if it were empty.
    resolvable: bool,
}

fn insufficient(pod: &PodInfo, node: &NodeInfo) -> Vec<Shortage> {
    let mut shortages = Vec::new();
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods + 1 > node.allowed_pods {
        shortages.push(Shortage {
            reason: "Too many pods".to_owned(),
            resolvable: node.allowed_pods > 0,
        });
    }
    let mut check = |name: &str, wanted: i64, allocatable: i64, requested: i64| {
        if wanted > 0 && wanted > allocatable - requested {
            shortages.push(Shortage {
                reason: format!("Insufficient {name}"),
                resolvable: wanted <= allocatable,
            });
        }
    };
    let (wanted, all, used) = (&pod.requests, &node.allocatable, &node.requested);
    check("cpu", wanted.milli_cpu, all.milli_cpu, used.milli_cpu);
    check(
        "memory",
        wanted.memory_bytes,
        all.memory_bytes,
        used.memory_bytes,
    );
    check(
        "ephemeral-storage",
        wanted.ephemeral_storage_bytes,
        all.ephemeral_storage_bytes,
        used.ephemeral_storage_bytes,
    );
    for (name, &amount) in &wanted.scalar {
        let of =
            |map: &std::collections::BTreeMap<String, i64>| map.get(name).copied().unwrap_or(0);
        check(name, amount, of(&all.scalar), of(&used.scalar));
    }
    shortages
}

impl Filter for NodeResourcesFit {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let shortages = insufficient(pod, node);
        if shortages.is_empty() {
            return Verdict::Success;
        }
        let resolvable = shortages.iter().all(|shortage| shortage.resolvable);
        let reasons = shortages.into_iter().map(|shortage| shortage.reason);
        Verdict::Reject(crate::framework::Rejection::new(resolvable, reasons))
    }
}

impl Score for NodeResourcesFit {
    /// The mean share of CPU and memory that would be left.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let (wanted, all, used) = (
            &pod.scoring_requests,
            &node.allocatable,
            &node.scoring_requested,
        );
        let shares = [
            (used.milli_cpu + wanted.milli_cpu, all.milli_cpu),
            (used.memory_bytes + wanted.memory_bytes, all.memory_bytes),
        ];
        let counted = shares.iter().filter(|(_, allocatable)| *allocatable > 0);
        let scores: Vec<i64> = counted
            .map(|&(requested, allocatable)| {
                (allocatable - requested)
                    .max(0)
                    .saturating_mul(MAX_NODE_SCORE)
                    / allocatable
            })
            .collect();
        match i64::try_from(scores.len()) {
            Ok(count) if count > 0 => scores.iter().sum::<i64>() / count,
            _ => 0,
        }
    }
}
