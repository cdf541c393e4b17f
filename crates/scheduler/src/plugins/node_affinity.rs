//! NodeAffinity: `nodeSelector` and required node affinity decide, preferred node affinity scores.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, NodeSelector, NodeSelectorTerm};

use serde::Deserialize;

use super::{
    Arguments, PluginError,
    selector::{matches_any_term, matches_term},
};
use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, Plugin, PreFilter, PreFilterResult, PreScore,
        Rejection, Score, Verdict, normalize_by_maximum,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

const MISMATCH: &str = "node(s) didn't match Pod's node affinity/selector";
const MISMATCH_OF_ADDED: &str = "node(s) didn't match scheduler-enforced node affinity";

/// Upstream's `NodeAffinityArgs`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    /// Holds for every pod of the profile, beside its own.
    added_affinity: Option<Affinity>,
}

pub(super) struct NodeAffinity {
    added: Option<Affinity>,
}

impl NodeAffinity {
    pub(super) fn new(arguments: &Arguments) -> Result<Self, PluginError> {
        let Args { added_affinity } = arguments.parse()?;
        Ok(Self {
            added: added_affinity,
        })
    }

    fn added_allows(&self, node: &NodeInfo) -> bool {
        self.added
            .as_ref()
            .and_then(|added| {
                added
                    .required_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .is_none_or(|required| matches_any_term(&required.node_selector_terms, node))
    }
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::NodeAdded,
            EventKind::NodeLabels,
            // A gated pod's selector may be narrowed before its gates go.
            EventKind::PodGates,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        event
            .node()
            .is_none_or(|node| self.added_allows(&node) && is_allowed(pod, &node))
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        Some(self)
    }
    fn score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreFilter for NodeAffinity {
    /// Terms that name their node (daemon pods have them) spare the look at all others.
    fn pre_filter(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        let wants_nothing = required(pod).is_none() && pod.spec().node_selector.is_none();
        if wants_nothing && self.added.is_none() {
            return Ok(PreFilterResult::Skip);
        }
        let Some(required) = required(pod).filter(|r| !r.node_selector_terms.is_empty()) else {
            return Ok(PreFilterResult::AllNodes);
        };
        let mut names = BTreeSet::new();
        for term in &required.node_selector_terms {
            let Some(named) = names_in(term) else {
                return Ok(PreFilterResult::AllNodes);
            };
            names.extend(named);
        }
        if names.is_empty() {
            return Err(Rejection::new(false, ["pod affinity terms conflict"]));
        }
        Ok(PreFilterResult::Nodes(names))
    }
}

/// The nodes that a term names by `metadata.name In`, all such requirements together; `None` if it has none.
fn names_in(term: &NodeSelectorTerm) -> Option<BTreeSet<String>> {
    term.match_fields
        .iter()
        .flatten()
        .filter(|field| field.key == "metadata.name" && field.operator == "In")
        .map(|field| {
            field
                .values
                .iter()
                .flatten()
                .cloned()
                .collect::<BTreeSet<_>>()
        })
        .reduce(|a, b| a.intersection(&b).cloned().collect())
}

impl Filter for NodeAffinity {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if !self.added_allows(node) {
            Verdict::unresolvable(MISMATCH_OF_ADDED)
        } else if is_allowed(pod, node) {
            Verdict::Success
        } else {
            Verdict::unresolvable(MISMATCH)
        }
    }
}

impl PreScore for NodeAffinity {
    /// A pod that prefers nothing scores nothing.
    fn pre_score(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &[Arc<NodeInfo>],
        _: &Snapshot,
    ) -> Verdict {
        let prefers = |affinity: &Affinity| {
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
                .is_some_and(|terms| !terms.is_empty())
        };
        if node_affinity(pod).is_some_and(prefers) || self.added.as_ref().is_some_and(prefers) {
            Verdict::Success
        } else {
            Verdict::Skip
        }
    }
}

impl Score for NodeAffinity {
    /// The sum of the weights of the preferred terms that match.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        node_affinity(pod)
            .into_iter()
            .chain(&self.added)
            .filter_map(|a| {
                a.preferred_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .flatten()
            .filter(|preferred| matches_term(&preferred.preference, node))
            .map(|preferred| i64::from(preferred.weight))
            .sum()
    }

    fn normalize(&self, _: &CycleState, _: &[Arc<NodeInfo>], scores: &mut [i64]) {
        normalize_by_maximum(scores, false);
    }
}

/// Whether the pod's own selector and required affinity allow the node.
pub(super) fn is_allowed(pod: &PodInfo, node: &NodeInfo) -> bool {
    let selector_matches = pod
        .spec()
        .node_selector
        .iter()
        .flatten()
        .all(|(key, value)| node.label(key) == Some(value.as_str()));
    selector_matches && required(pod).is_none_or(|r| matches_any_term(&r.node_selector_terms, node))
}

fn node_affinity(pod: &PodInfo) -> Option<&Affinity> {
    pod.spec().affinity.as_ref()?.node_affinity.as_ref()
}

fn required(pod: &PodInfo) -> Option<&NodeSelector> {
    node_affinity(pod)?
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}
