//! NodeAffinity: `nodeSelector` and required node affinity decide, preferred node affinity scores.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeAffinity as Affinity, NodeSelector, NodeSelectorTerm};

use super::selector::{matches_any_term, matches_term};
use crate::{
    cache::Snapshot,
    framework::{
        CycleState, EventKind, Filter, Plugin, PreFilter, Rejection, Score, Verdict,
        normalize_by_maximum,
    },
    node_info::NodeInfo,
    pod_info::PodInfo,
};

pub(super) struct NodeAffinity;

const MISMATCH: &str = "node(s) didn't match Pod's node affinity/selector";

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::NodeAdded,
            EventKind::NodeLabels,
            EventKind::PodChanged,
        ]
    }
    fn may_help(&self, event: &crate::framework::ClusterEvent, pod: &PodInfo) -> bool {
        use crate::framework::ClusterEvent;
        match event {
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeUpdated(node, _) => {
                is_allowed(pod, &NodeInfo::new(std::sync::Arc::clone(node)))
            }
            _ => true,
        }
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
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
    ) -> Result<Option<BTreeSet<String>>, Rejection> {
        let Some(required) = required(pod).filter(|r| !r.node_selector_terms.is_empty()) else {
            return Ok(None);
        };
        let mut names = BTreeSet::new();
        for term in &required.node_selector_terms {
            let Some(named) = names_in(term) else {
                return Ok(None);
            };
            names.extend(named);
        }
        if names.is_empty() {
            return Err(Rejection::new(false, ["pod affinity terms conflict"]));
        }
        Ok(Some(names))
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
        if is_allowed(pod, node) {
            Verdict::Success
        } else {
            Verdict::unresolvable(MISMATCH)
        }
    }
}

impl Score for NodeAffinity {
    /// The sum of the weights of the preferred terms that match.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        node_affinity(pod)
            .and_then(|a| {
                a.preferred_during_scheduling_ignored_during_execution
                    .as_ref()
            })
            .into_iter()
            .flatten()
            .filter(|preferred| matches_term(&preferred.preference, node))
            .map(|preferred| i64::from(preferred.weight))
            .sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        normalize_by_maximum(scores, false);
    }
}

fn is_allowed(pod: &PodInfo, node: &NodeInfo) -> bool {
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
