//! `DoNotSchedule`: in no domain may there be more matching pods than `maxSkew` above the least that any domain has.

use super::{Constraint, Counts, PodTopologySpread};
use crate::{
    framework::{CycleState, Filter, Plugin, PreFilter, PreFilterResult, Rejection, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

const MISMATCH: &str = "node(s) didn't match pod topology spread constraints";
const MISSING_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// The constraints with their counts.
#[derive(Clone)]
struct Spread(Vec<(Constraint, Counts)>);

impl Spread {
    /// Whether a node has the labels of all constraints; if not it is in no domain of any.
    fn is_in_domains(&self, node: &NodeInfo) -> bool {
        self.0.iter().all(|(c, _)| c.domain(node).is_some())
    }

    /// `other` has come to `node`, or left it.
    fn update(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, delta: i64) {
        if other.namespace != pod.namespace || !self.is_in_domains(node) {
            return;
        }
        for (constraint, counts) in &mut self.0 {
            if let Some(domain) = constraint.domain(node)
                && constraint.selects(other)
                && constraint.includes(pod, node)
            {
                *counts.entry(domain.to_owned()).or_default() += delta;
            }
        }
    }
}

impl PreFilter for PodTopologySpread {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        let constraints = self.constraints(pod, "DoNotSchedule");
        if constraints.is_empty() {
            return Ok(PreFilterResult::Skip);
        }
        let constraints = constraints.into_iter();
        let mut spread = Spread(constraints.map(|c| (c, Counts::new())).collect());
        for node in nodes.nodes() {
            if !spread.is_in_domains(node) {
                continue;
            }
            for (constraint, counts) in &mut spread.0 {
                let Some(domain) = constraint.domain(node) else {
                    continue;
                };
                if !constraint.includes(pod, node) {
                    continue;
                }
                let count = constraint.count(node, &pod.namespace);
                match counts.get_mut(domain) {
                    Some(sum) => *sum += count,
                    None => {
                        counts.insert(domain.to_owned(), count);
                    }
                }
            }
        }
        // The least of each is asked for at every node: keep it at hand.
        state.write(self.name(), Least::of(&spread));
        state.write(self.name(), spread);
        Ok(PreFilterResult::AllNodes)
    }

    fn add_pod(&self, state: &mut CycleState, pod: &PodInfo, other: &PodInfo, node: &NodeInfo) {
        update(self.name(), state, pod, other, node, 1);
    }

    fn remove_pod(&self, state: &mut CycleState, pod: &PodInfo, other: &PodInfo, node: &NodeInfo) {
        update(self.name(), state, pod, other, node, -1);
    }
}

fn update(
    name: &'static str,
    state: &mut CycleState,
    pod: &PodInfo,
    other: &PodInfo,
    node: &NodeInfo,
    delta: i64,
) {
    if let Some(spread) = state.edit::<Spread>(name) {
        spread.update(pod, other, node, delta);
        let least = Least::of(spread);
        state.write(name, least);
    }
}

/// For each constraint the least count of any domain; 0 if there are fewer domains than there should be.
#[derive(Clone)]
struct Least(Vec<i64>);

impl Least {
    fn of(spread: &Spread) -> Self {
        let least = spread.0.iter().map(|(constraint, counts)| {
            let domains = i64::try_from(counts.len()).unwrap_or(i64::MAX);
            if domains < constraint.min_domains {
                0
            } else {
                counts
                    .values()
                    .copied()
                    .min()
                    .unwrap_or(i64::from(i32::MAX))
            }
        });
        Self(least.collect())
    }
}

impl Filter for PodTopologySpread {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let (Some(spread), Some(least)) = (
            state.read::<Spread>(self.name()),
            state.read::<Least>(self.name()),
        ) else {
            return Verdict::Success;
        };
        for ((constraint, counts), least) in spread.0.iter().zip(&least.0) {
            let Some(domain) = constraint.domain(node) else {
                return Verdict::unresolvable(MISSING_LABEL);
            };
            let there = counts.get(domain).copied().unwrap_or(0);
            let own = i64::from(constraint.selects(pod));
            if there + own - least > constraint.max_skew {
                return Verdict::unschedulable([MISMATCH]);
            }
        }
        Verdict::Success
    }
}
