//! InterPodAffinity: pods near to pods, or far from them. Required terms decide ([`filtering`]), preferred ones score ([`scoring`]); those of pods
//! already running bind the incoming one, too.

mod filtering;
mod scoring;

use client::Labels;
use serde::Deserialize;

use super::{Arguments, PluginError};
use crate::{
    affinity::{PodAffinity, Term},
    framework::{ClusterEvent, EventKind, Filter, Plugin, PreFilter, PreScore, Score},
    listers::Listers,
    pod_info::PodInfo,
};

/// Upstream's `InterPodAffinityArgs`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
struct Args {
    /// What a required affinity of a running pod to the incoming one counts.
    hard_pod_affinity_weight: i64,
    /// Whether what running pods prefer is left out for pods that prefer nothing.
    ignore_preferred_terms_of_existing_pods: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            hard_pod_affinity_weight: 1,
            ignore_preferred_terms_of_existing_pods: false,
        }
    }
}

pub(super) struct InterPodAffinity {
    listers: Listers,
    args: Args,
}

impl InterPodAffinity {
    pub(super) fn new(listers: Listers, arguments: &Arguments) -> Result<Self, PluginError> {
        let args: Args = arguments.parse()?;
        if !(0..=100).contains(&args.hard_pod_affinity_weight) {
            return Err(PluginError::new(
                "hardPodAffinityWeight",
                "not in valid range [0, 100]",
            ));
        }
        Ok(Self { listers, args })
    }

    /// The labels of a namespace; none if it is not known.
    fn namespace_labels(&self, namespace: &str) -> Labels {
        let namespace = self.listers.namespaces.get("", namespace);
        namespace
            .and_then(|namespace| namespace.metadata.labels.clone())
            .unwrap_or_default()
    }

    /// A term with the namespaces that its selector selects now among those that it names: so the namespaces of the pods that it is
    /// held against need not be looked up one by one.
    fn resolved(&self, term: &Term) -> Term {
        let mut resolved = term.clone();
        if let Some(selector) = resolved.namespace_selector.take() {
            for namespace in self.listers.namespaces.list() {
                let labels = namespace.metadata.labels.clone().unwrap_or_default();
                if client::selects(&selector, &labels) {
                    resolved.namespaces.extend(namespace.metadata.name.clone());
                }
            }
        }
        resolved
    }

    fn all_resolved(&self, terms: &[Term]) -> Vec<Term> {
        terms.iter().map(|term| self.resolved(term)).collect()
    }

    fn weighted_resolved(&self, terms: &[(Term, i64)]) -> Vec<(Term, i64)> {
        let terms = terms.iter();
        terms
            .map(|(term, weight)| (self.resolved(term), *weight))
            .collect()
    }
}

/// What a pod wishes; nothing if it does not say.
fn wishes(pod: &PodInfo) -> &PodAffinity {
    static NONE: PodAffinity = PodAffinity {
        required_affinity: Vec::new(),
        required_anti_affinity: Vec::new(),
        preferred_affinity: Vec::new(),
        preferred_anti_affinity: Vec::new(),
    };
    pod.affinity.as_ref().unwrap_or(&NONE)
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::AssignedPodAdded,
            EventKind::AssignedPodLabels,
            EventKind::AssignedPodRemoved,
            EventKind::NodeAdded,
            EventKind::NodeLabels,
            EventKind::PodLabels,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        let own = wishes(pod);
        let wanted = |other: &PodInfo| {
            let labels = self.namespace_labels(&other.namespace);
            own.required_affinity
                .iter()
                .any(|term| term.matches(other, &labels))
        };
        let unwanted = |other: &PodInfo| {
            let (labels, own_labels) = (
                self.namespace_labels(&other.namespace),
                self.namespace_labels(&pod.namespace),
            );
            own.required_anti_affinity
                .iter()
                .any(|term| term.matches(other, &labels))
                || wishes(other)
                    .required_anti_affinity
                    .iter()
                    .any(|term| term.matches(pod, &own_labels))
        };
        match event {
            ClusterEvent::AssignedPodAdded(other) => wanted(other),
            ClusterEvent::AssignedPodRemoved(other) => wanted(other) || unwanted(other),
            ClusterEvent::AssignedPodUpdated { old, new, .. } => {
                (wanted(new) && !wanted(old)) || (unwanted(old) && !unwanted(new))
            }
            // A pod that has to be near to others needs the label that tells where it is.
            ClusterEvent::NodeAdded(_) => event.node().is_none_or(|node| {
                let mut terms = own.required_affinity.iter();
                terms.all(|term| node.label(&term.topology_key).is_some())
            }),
            _ => true,
        }
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

#[cfg(test)]
mod tests;
