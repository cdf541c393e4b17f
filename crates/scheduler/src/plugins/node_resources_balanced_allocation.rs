//! NodeResourcesBalancedAllocation: better a node whose resources the pod brings to more even shares.

use serde::Deserialize;

use super::{
    Arguments, PluginError,
    resource_score::{ResourceSpec, Usage, default_resources, usages, validate},
};
use crate::{
    framework::{CycleState, MAX_NODE_SCORE, Plugin, PreScore, Score, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

/// Upstream's `NodeResourcesBalancedAllocationArgs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    resources: Vec<ResourceSpec>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            resources: default_resources(),
        }
    }
}

pub(super) struct NodeResourcesBalancedAllocation {
    resources: Vec<ResourceSpec>,
}

impl NodeResourcesBalancedAllocation {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, PluginError> {
        let Args { resources } = arguments.parse()?;
        validate(&resources, "resources")?;
        if let Some(index) = resources.iter().position(|resource| resource.weight != 1) {
            return Err(PluginError::new(
                format!("resources[{index}].weight"),
                "resource weight must be 1",
            ));
        }
        Ok(Self { resources })
    }
}

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
        _: &Snapshot,
    ) -> Verdict {
        let asks = |resource: &ResourceSpec| pod.requests.get(&resource.name) != 0;
        if self.resources.iter().any(asks) {
            Verdict::Success
        } else {
            Verdict::Skip
        }
    }
}

impl Score for NodeResourcesBalancedAllocation {
    /// 50 to 100: around 75 when the balance hardly changes.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let usages: Vec<Usage> =
            usages(&self.resources, &pod.requests, &node.requested, node).collect();
        let before = balance(usages.iter().map(|usage| (usage.before, usage.allocatable)));
        let after = balance(usages.iter().map(|usage| (usage.after, usage.allocatable)));
        MAX_NODE_SCORE / 2 + (MAX_NODE_SCORE / 2 + after - before) / 2
    }
}

/// The less the shares deviate from each other, the more; the standard deviation of shares is at most a half.
fn balance(usages: impl Iterator<Item = (i64, i64)>) -> i64 {
    let shares: Vec<f64> = usages
        .map(|(used, allocatable)| (used as f64 / allocatable as f64).min(1.0))
        .collect();
    let deviation = if shares.len() < 2 {
        0.0
    } else {
        let count = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / count;
        let squares: f64 = shares.iter().map(|share| (share - mean).powi(2)).sum();
        (squares / count).sqrt()
    };
    ((1.0 - deviation) * MAX_NODE_SCORE as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_pod_that_evens_the_shares_is_welcome() {
        let plugin = NodeResourcesBalancedAllocation::new(&Arguments::default()).unwrap();
        let mut node = NodeInfo::new(testing::node("n").allocatable("10", "10Gi").build());
        node.add_pod(testing::pod("a").requests("5", "0").info());
        let score = |cpu, memory| {
            let pod = testing::pod("p").requests(cpu, memory).info();
            Score::score(&plugin, &CycleState::default(), &pod, &node)
        };
        assert_eq!(score("0", "5Gi"), 87, "from 75 to 100");
        assert_eq!(score("5", "0"), 62, "from 75 to 50");
        assert_eq!(score("1", "1Gi"), 75, "as before");
    }
}
