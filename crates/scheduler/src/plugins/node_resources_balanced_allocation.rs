//! NodeResourcesBalancedAllocation: better a node whose CPU and memory would be used in like shares.

use crate::{
    framework::{CycleState, MAX_NODE_SCORE, Plugin, PreScore, Score, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
};

pub(super) struct NodeResourcesBalancedAllocation;

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreScore for NodeResourcesBalancedAllocation {
    /// A pod that asks for nothing balances nothing.
    fn pre_score(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &[std::sync::Arc<NodeInfo>],
    ) -> Verdict {
        if pod.requests.milli_cpu == 0 && pod.requests.memory_bytes == 0 {
            Verdict::Skip
        } else {
            Verdict::Success
        }
    }
}

impl Score for NodeResourcesBalancedAllocation {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let (wanted, all, used) = (&pod.requests, &node.allocatable, &node.requested);
        let share = |requested: i64, allocatable: i64| {
            (allocatable > 0).then(|| (requested as f64 / allocatable as f64).min(1.0))
        };
        let cpu = share(used.milli_cpu + wanted.milli_cpu, all.milli_cpu);
        let memory = share(used.memory_bytes + wanted.memory_bytes, all.memory_bytes);
        // The standard deviation of two values is half their distance.
        let deviation = match (cpu, memory) {
            (Some(cpu), Some(memory)) => (cpu - memory).abs() / 2.0,
            _ => 0.0,
        };
        ((1.0 - deviation) * MAX_NODE_SCORE as f64) as i64
    }
}
