//! `ScheduleAnyway`: better a node whose domains have fewer matching pods. Domains of a key that tells many apart weigh more.

use std::{collections::BTreeSet, sync::Arc};

use super::{Constraint, Counts, HOSTNAME, PodTopologySpread};
use crate::{
    framework::{CycleState, MAX_NODE_SCORE, Plugin, PreScore, Score, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

/// A constraint, the counts of the domains of feasible nodes, and its weight.
#[derive(Clone)]
struct Weighted {
    constraint: Constraint,
    /// Empty for hosts: they are counted when they are scored.
    counts: Counts,
    weight: f64,
}

/// What is known before nodes are scored.
#[derive(Clone)]
struct Soft {
    constraints: Vec<Weighted>,
    /// Nodes without the labels of all constraints.
    ignored: BTreeSet<String>,
}

impl PreScore for PodTopologySpread {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        feasible: &[Arc<NodeInfo>],
        nodes: &Snapshot,
    ) -> Verdict {
        let constraints = self.constraints(pod, "ScheduleAnyway");
        if constraints.is_empty() {
            return Verdict::Skip;
        }
        // The system's defaults also help where nodes have no zones.
        let has_own = pod
            .spec()
            .topology_spread_constraints
            .as_ref()
            .is_some_and(|own| !own.is_empty());
        let needs_all = has_own || !self.system_defaulted;
        let is_in_domains =
            |node: &NodeInfo| !needs_all || constraints.iter().all(|c| c.domain(node).is_some());
        let (counted, ignored): (Vec<_>, Vec<_>) =
            feasible.iter().partition(|node| is_in_domains(node));
        let mut weighted: Vec<Weighted> = constraints
            .iter()
            .map(|constraint| weigh(constraint, &counted))
            .collect();
        if weighted
            .iter()
            .any(|w| w.constraint.topology_key != HOSTNAME)
        {
            count(&mut weighted, pod, nodes, is_in_domains);
        }
        let ignored = ignored.iter().map(|node| node.name.clone()).collect();
        state.write(
            self.name(),
            Soft {
                constraints: weighted,
                ignored,
            },
        );
        Verdict::Success
    }
}

fn weigh(constraint: &Constraint, counted: &[&Arc<NodeInfo>]) -> Weighted {
    let mut counts = Counts::new();
    let domains = if constraint.topology_key == HOSTNAME {
        counted.len()
    } else {
        // Nodes without the label are a domain together.
        for node in counted {
            let domain = constraint.domain(node).unwrap_or_default();
            if !counts.contains_key(domain) {
                counts.insert(domain.to_owned(), 0);
            }
        }
        counts.len()
    };
    Weighted {
        constraint: constraint.clone(),
        counts,
        weight: ((domains + 2) as f64).ln(),
    }
}

fn count(
    constraints: &mut [Weighted],
    pod: &PodInfo,
    nodes: &Snapshot,
    is_in_domains: impl Fn(&NodeInfo) -> bool,
) {
    for node in nodes.nodes() {
        if !is_in_domains(node) {
            continue;
        }
        for weighted in constraints.iter_mut() {
            let constraint = &weighted.constraint;
            let domain = constraint.domain(node).unwrap_or_default();
            if let Some(sum) = weighted.counts.get_mut(domain)
                && constraint.includes(pod, node)
            {
                *sum += constraint.count(node, &pod.namespace);
            }
        }
    }
}

impl Score for PodTopologySpread {
    /// How crowded the node's domains are.
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(soft) = state.read::<Soft>(self.name()) else {
            return 0;
        };
        if soft.ignored.contains(&node.name) {
            return 0;
        }
        let mut score = 0.0;
        for weighted in &soft.constraints {
            let constraint = &weighted.constraint;
            let Some(domain) = constraint.domain(node) else {
                continue;
            };
            let count = if constraint.topology_key == HOSTNAME {
                constraint.count(node, &pod.namespace)
            } else {
                weighted.counts.get(domain).copied().unwrap_or(0)
            };
            // A larger skew is minded less.
            score += count as f64 * weighted.weight + (constraint.max_skew - 1) as f64;
        }
        score.round() as i64
    }

    fn normalize(&self, state: &CycleState, feasible: &[Arc<NodeInfo>], scores: &mut [i64]) {
        let Some(soft) = state.read::<Soft>(self.name()) else {
            return;
        };
        let is_ignored = |node: &Arc<NodeInfo>| soft.ignored.contains(&node.name);
        let counted = feasible.iter().zip(scores.iter());
        let counted = counted.filter(|(node, _)| !is_ignored(node));
        let (least, most) = counted.fold((i64::MAX, 0), |(least, most), (_, &score)| {
            (least.min(score), most.max(score))
        });
        for (node, score) in feasible.iter().zip(scores) {
            *score = if is_ignored(node) {
                0
            } else if most == 0 {
                MAX_NODE_SCORE
            } else {
                MAX_NODE_SCORE * (most + least - *score) / most
            };
        }
    }
}
