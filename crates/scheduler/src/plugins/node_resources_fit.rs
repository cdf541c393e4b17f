//! NodeResourcesFit: what a pod asks for must be free. Of the nodes that have it the emptier is the better (`LeastAllocated`), or the fuller
//! (`MostAllocated`), or as a curve has it (`RequestedToCapacityRatio`).

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{
    Arguments, PluginError,
    resource_score::{ResourceSpec, Usage, default_resources, usages, validate},
};
use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, MAX_NODE_SCORE, Plugin, Rejection, Score,
        Verdict,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
};

/// The best score of a point of a curve.
const MAX_CUSTOM_SCORE: i64 = 10;

/// Upstream's `NodeResourcesFitArgs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    ignored_resources: BTreeSet<String>,
    ignored_resource_groups: BTreeSet<String>,
    scoring_strategy: ScoringStrategy,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct ScoringStrategy {
    r#type: StrategyType,
    resources: Vec<ResourceSpec>,
    requested_to_capacity_ratio: Option<RequestedToCapacityRatio>,
}

impl Default for ScoringStrategy {
    fn default() -> Self {
        Self {
            r#type: StrategyType::LeastAllocated,
            resources: default_resources(),
            requested_to_capacity_ratio: None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum StrategyType {
    LeastAllocated,
    MostAllocated,
    RequestedToCapacityRatio,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RequestedToCapacityRatio {
    shape: Vec<ShapePoint>,
}

/// A point of a curve: a utilization in percent, and the score there, of 10.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ShapePoint {
    utilization: i64,
    score: i64,
}

pub(super) struct NodeResourcesFit {
    args: Args,
    shape: Vec<ShapePoint>,
}

impl NodeResourcesFit {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, PluginError> {
        let mut args: Args = arguments.parse()?;
        let strategy = &mut args.scoring_strategy;
        if strategy.resources.is_empty() {
            strategy.resources = default_resources();
        }
        validate(&strategy.resources, "scoringStrategy.resources")?;
        let shape = match (strategy.r#type, &strategy.requested_to_capacity_ratio) {
            (StrategyType::RequestedToCapacityRatio, ratio) => {
                let shape = ratio.as_ref().map(|r| r.shape.clone()).unwrap_or_default();
                validate_shape(&shape)?;
                shape
            }
            _ => Vec::new(),
        };
        Ok(Self { args, shape })
    }

    fn is_ignored(&self, resource: &str) -> bool {
        let group = resource.split('/').next().unwrap_or_default();
        self.args.ignored_resources.contains(resource)
            || (resource.contains('/') && self.args.ignored_resource_groups.contains(group))
    }

    /// Everything that there is too little of.
    fn insufficient(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Shortage> {
        let mut shortages = Vec::new();
        let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
        if pods + 1 > node.allowed_pods {
            shortages.push(Shortage {
                reason: "Too many pods".to_owned(),
                resolvable: true,
            });
        }
        let (wanted, all, used) = (&pod.requests, &node.allocatable, &node.requested);
        let standard = ["cpu", "memory", "ephemeral-storage"].into_iter();
        let scalar = wanted.scalar.keys().map(String::as_str);
        for name in standard.chain(scalar.filter(|name| !self.is_ignored(name))) {
            let (amount, allocatable) = (wanted.get(name), all.get(name));
            if amount > 0 && amount > allocatable - used.get(name) {
                shortages.push(Shortage {
                    reason: format!("Insufficient {name}"),
                    resolvable: amount <= allocatable,
                });
            }
        }
        shortages
    }
}

fn validate_shape(shape: &[ShapePoint]) -> Result<(), PluginError> {
    let at = "scoringStrategy.requestedToCapacityRatio.shape";
    if shape.is_empty() {
        return Err(PluginError::new(at, "at least one point must be specified"));
    }
    for (index, point) in shape.iter().enumerate() {
        if !(0..=100).contains(&point.utilization) {
            return Err(PluginError::new(
                format!("{at}[{index}].utilization"),
                "not in valid range [0, 100]",
            ));
        }
        if index > 0 && shape[index - 1].utilization >= point.utilization {
            return Err(PluginError::new(
                format!("{at}[{index}].utilization"),
                "utilization values must be sorted in increasing order",
            ));
        }
        if !(0..=MAX_CUSTOM_SCORE).contains(&point.score) {
            return Err(PluginError::new(
                format!("{at}[{index}].score"),
                "not in valid range [0, 10]",
            ));
        }
    }
    Ok(())
}

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::NodeAdded,
            EventKind::NodeAllocatable,
            EventKind::AssignedPodRemoved,
            EventKind::AssignedPodScaledDown,
            EventKind::PodScaledDown,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::NodeAdded(_) | ClusterEvent::NodeUpdated(..) => event
                .node()
                .is_none_or(|empty| self.insufficient(pod, &empty).is_empty()),
            ClusterEvent::AssignedPodUpdated { old, new, .. } => {
                let less = |name: &str| new.requests.get(name) < old.requests.get(name);
                let mut wanted = ["cpu", "memory", "ephemeral-storage"]
                    .into_iter()
                    .chain(pod.requests.scalar.keys().map(String::as_str));
                wanted.any(|name| pod.requests.get(name) > 0 && less(name))
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

impl Filter for NodeResourcesFit {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let shortages = self.insufficient(pod, node);
        if shortages.is_empty() {
            return Verdict::Success;
        }
        let resolvable = shortages.iter().all(|shortage| shortage.resolvable);
        let reasons = shortages.into_iter().map(|shortage| shortage.reason);
        Verdict::Reject(Rejection::new(resolvable, reasons))
    }
}

impl Score for NodeResourcesFit {
    /// The mean of the resources' scores, by their weights.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let strategy = &self.args.scoring_strategy;
        let usages = usages(
            &strategy.resources,
            &pod.scoring_requests,
            &node.scoring_requested,
            node,
        );
        let (mut sum, mut weights) = (0_i64, 0_i64);
        for usage in usages {
            let score = match strategy.r#type {
                StrategyType::LeastAllocated => least_allocated(usage),
                StrategyType::MostAllocated => most_allocated(usage),
                StrategyType::RequestedToCapacityRatio => match by_shape(&self.shape, usage) {
                    0 => continue,
                    score => score,
                },
            };
            sum += score * usage.weight;
            weights += usage.weight;
        }
        match (weights, strategy.r#type) {
            (0, _) => 0,
            (_, StrategyType::RequestedToCapacityRatio) => {
                (sum as f64 / weights as f64).round() as i64
            }
            _ => sum / weights,
        }
    }
}

/// The share that would be left.
fn least_allocated(usage: Usage) -> i64 {
    (usage.allocatable - usage.after)
        .max(0)
        .saturating_mul(MAX_NODE_SCORE)
        / usage.allocatable
}

/// The share that would be used.
fn most_allocated(usage: Usage) -> i64 {
    usage
        .after
        .min(usage.allocatable)
        .saturating_mul(MAX_NODE_SCORE)
        / usage.allocatable
}

/// Where the curve through the points is at the utilization that would be: flat before the first and after the last.
fn by_shape(shape: &[ShapePoint], usage: Usage) -> i64 {
    let utilization = if usage.after > usage.allocatable {
        100
    } else {
        usage.after.saturating_mul(100) / usage.allocatable
    };
    let score = |point: &ShapePoint| point.score * (MAX_NODE_SCORE / MAX_CUSTOM_SCORE);
    let next = shape.partition_point(|point| point.utilization < utilization);
    match (next.checked_sub(1).map(|i| &shape[i]), shape.get(next)) {
        (None, Some(first)) => score(first),
        (Some(last), None) => score(last),
        (Some(a), Some(b)) => {
            score(a)
                + (score(b) - score(a)) * (utilization - a.utilization)
                    / (b.utilization - a.utilization)
        }
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing;

    #[test]
    fn strategies() {
        let node = NodeInfo::new(testing::node("n").allocatable("10", "10Gi").build());
        let pod = testing::pod("p").requests("2", "4Gi").info();
        let ratio = json!({"scoringStrategy": {
            "type": "RequestedToCapacityRatio",
            "resources": [{"name": "cpu", "weight": 3}, {"name": "memory"}],
            "requestedToCapacityRatio": {"shape": [
                {"utilization": 0, "score": 0}, {"utilization": 100, "score": 10},
            ]},
        }});
        for (args, expected) in [
            (json!({}), 70),
            (json!({"scoringStrategy": {"type": "MostAllocated"}}), 30),
            (ratio, 25),
        ] {
            let plugin = NodeResourcesFit::new(&Arguments(Some(args))).unwrap();
            let score = Score::score(&plugin, &CycleState::default(), &pod, &node);
            assert_eq!(score, expected);
        }
    }

    #[test]
    fn ignored_resources_are_not_missed() {
        let args =
            json!({"ignoredResources": ["example.com/a"], "ignoredResourceGroups": ["b.com"]});
        let plugin = NodeResourcesFit::new(&Arguments(Some(args))).unwrap();
        let node = NodeInfo::new(testing::node("n").build());
        let pod = |resource| testing::pod("p").requests_of(resource, "1").info();
        let reasons = |resource| {
            let shortages = plugin.insufficient(&pod(resource), &node);
            shortages.into_iter().map(|s| s.reason).collect::<Vec<_>>()
        };
        assert!(reasons("example.com/a").is_empty());
        assert!(reasons("b.com/anything").is_empty());
        assert_eq!(reasons("example.com/c"), ["Insufficient example.com/c"]);
    }
}
