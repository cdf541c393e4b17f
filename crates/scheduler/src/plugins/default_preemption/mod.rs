//! DefaultPreemption: when no node can run a pod, room is made for it where that costs least, by deleting pods of lower priority.
//!
//! A pod may preempt unless its `preemptionPolicy` is `Never`, or pods that it has preempted before are still on their way out. Nodes
//! are tried on copies, from a random one on, until enough candidates are found; [`candidate`] chooses among them. What is decided here
//! is carried out by [`crate::executor`], beside the scheduling of other pods; until it is, the pod counts as being under way.

mod candidate;
mod victims;

use std::collections::BTreeMap;

use candidate::Candidate;

use super::{Arguments, PluginError};
use crate::{
    diagnosis::Diagnosis,
    framework::{NoRoom, Plugin, PostFilter, PostFilterInput, Rejection},
    listers::Listers,
    node_info::NodeInfo,
    pod_info::PodInfo,
    preemption::Preemption,
};

/// Of a hundred nodes on which preemption may help, at least so many are tried …
const MIN_CANDIDATE_NODES_PERCENTAGE: usize = 10;
/// … and at least so many in all.
const MIN_CANDIDATE_NODES_ABSOLUTE: usize = 100;

/// Upstream's `DefaultPreemptionArgs`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    min_candidate_nodes_percentage: usize,
    min_candidate_nodes_absolute: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            min_candidate_nodes_percentage: MIN_CANDIDATE_NODES_PERCENTAGE,
            min_candidate_nodes_absolute: MIN_CANDIDATE_NODES_ABSOLUTE,
        }
    }
}

pub(super) struct DefaultPreemption {
    listers: Listers,
    args: Args,
}

impl DefaultPreemption {
    pub(super) fn new(listers: Listers, arguments: &Arguments) -> Result<Self, PluginError> {
        let args: Args = arguments.parse()?;
        if args.min_candidate_nodes_percentage > 100 {
            return Err(PluginError::new(
                "minCandidateNodesPercentage",
                "not in valid range [0, 100]",
            ));
        }
        if args.min_candidate_nodes_percentage == 0 && args.min_candidate_nodes_absolute == 0 {
            return Err(PluginError::new(
                "minCandidateNodesPercentage",
                "cannot be zero at the same time as minCandidateNodesAbsolute",
            ));
        }
        Ok(Self { listers, args })
    }

    fn enough(&self, nodes: usize) -> usize {
        (nodes * self.args.min_candidate_nodes_percentage / 100)
            .max(self.args.min_candidate_nodes_absolute)
            .min(nodes)
    }
}

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }
    fn post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
}

impl PostFilter for DefaultPreemption {
    fn post_filter(&self, input: &PostFilterInput<'_>) -> Result<Preemption, NoRoom> {
        may_preempt(input).map_err(|reason| NoRoom {
            message: format!("preemption: {reason}"),
            clears_nomination: false,
        })?;
        let mut found = self.candidates(input);
        let Some(best) = candidate::best(&mut found.candidates) else {
            return Err(NoRoom {
                message: format!("preemption: {}", found.refusals.message()),
                clears_nomination: true,
            });
        };
        let displaced = input.nodes.nominated.on(&best.node);
        let displaced = displaced.filter(|other| other.priority < input.pod.priority);
        Ok(Preemption {
            displaced: displaced.cloned().collect(),
            node: best.node,
            victims: best.victims,
        })
    }
}

/// What the trial of nodes brought.
struct Found {
    candidates: Vec<Candidate>,
    refusals: Diagnosis,
}

impl DefaultPreemption {
    fn candidates(&self, input: &PostFilterInput<'_>) -> Found {
        let all = input.nodes.nodes();
        let not_helpful = Rejection::new(false, ["Preemption is not helpful for scheduling"]);
        let mut found = Found {
            candidates: Vec::new(),
            refusals: Diagnosis {
                all_nodes: all.len(),
                nodes: BTreeMap::new(),
                absent: Some(not_helpful),
                ..Diagnosis::default()
            },
        };
        let potential: Vec<usize> = (0..all.len())
            .filter(|&position| input.diagnosis.is_resolvable(position))
            .collect();
        let budgets = self.listers.disruption_budgets.list();
        let enough = self.enough(potential.len());
        let mut harmless = false;
        for offset in 0..potential.len() {
            let position = potential[(input.start % potential.len() + offset) % potential.len()];
            match victims::on_node(input, &all[position], &budgets) {
                Ok(candidate) => {
                    harmless |= candidate.violations == 0;
                    found.candidates.push(candidate);
                    if harmless && found.candidates.len() >= enough {
                        break;
                    }
                }
                Err(rejection) => {
                    found.refusals.nodes.insert(position, rejection);
                }
            }
        }
        found
    }
}

/// Whether the pod may preempt others now, or why not.
fn may_preempt(input: &PostFilterInput<'_>) -> Result<(), &'static str> {
    let pod = input.pod;
    if pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Err("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = input.nodes.nominated.node_of(&pod.uid);
    let Some(position) = nominated.and_then(|node| input.nodes.position(node)) else {
        return Ok(());
    };
    // The node has become impossible: the pod does not wait for it any longer.
    if !input.diagnosis.is_resolvable(position) {
        return Ok(());
    }
    let node: &NodeInfo = &input.nodes.nodes()[position];
    let waits = node
        .pods
        .values()
        .any(|other| is_preemptible(other, pod) && is_terminating_by_preemption(other));
    if waits {
        Err("not eligible due to a terminating pod on the nominated node.")
    } else {
        Ok(())
    }
}

/// Whether `victim` may have to go for `pod`.
fn is_preemptible(victim: &PodInfo, pod: &PodInfo) -> bool {
    victim.priority < pod.priority
}

fn is_terminating_by_preemption(pod: &PodInfo) -> bool {
    let conditions = pod.pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    pod.is_terminating()
        && conditions.into_iter().flatten().any(|condition| {
            condition.type_ == "DisruptionTarget"
                && condition.status == "True"
                && condition.reason.as_deref() == Some("PreemptionByScheduler")
        })
}

#[cfg(test)]
mod tests;
