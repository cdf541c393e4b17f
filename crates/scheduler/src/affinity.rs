//! A pod's wishes about other pods (`spec.affinity.podAffinity` and `podAntiAffinity`), with what a term means worked out once.

use std::collections::BTreeSet;

use client::{Labels, selects};
use k8s_openapi::{
    api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::pod_info::PodInfo;

/// Which pods a term is about, and how near they are to be.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    /// Namespaces by name.
    pub(crate) namespaces: BTreeSet<String>,
    /// And those with such labels; the empty selector selects all, none at all selects none.
    pub(crate) namespace_selector: Option<LabelSelector>,
    /// None at all selects no pod.
    pub(crate) selector: Option<LabelSelector>,
    /// The node label of which two nodes near to each other have the same value.
    pub(crate) topology_key: String,
}

/// Affinities and anti-affinities; the numbers are weights.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodAffinity {
    pub(crate) required_affinity: Vec<Term>,
    pub(crate) required_anti_affinity: Vec<Term>,
    pub(crate) preferred_affinity: Vec<(Term, i64)>,
    pub(crate) preferred_anti_affinity: Vec<(Term, i64)>,
}

impl PodAffinity {
    /// Those of a pod, if it has any.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?;
        let required = |terms: Option<&Vec<PodAffinityTerm>>| -> Vec<Term> {
            let terms = terms.into_iter().flatten();
            terms.map(|term| Term::new(term, pod)).collect()
        };
        let preferred = |terms: Option<&Vec<WeightedPodAffinityTerm>>| -> Vec<(Term, i64)> {
            let weighted = |term: &WeightedPodAffinityTerm| {
                let own = Term::new(&term.pod_affinity_term, pod);
                (own, i64::from(term.weight))
            };
            terms.into_iter().flatten().map(weighted).collect()
        };
        let near = affinity.pod_affinity.as_ref();
        let far = affinity.pod_anti_affinity.as_ref();
        let own = Self {
            required_affinity: required(near.and_then(|a| {
                a.required_during_scheduling_ignored_during_execution
                    .as_ref()
            })),
            required_anti_affinity: required(far.and_then(|a| {
                a.required_during_scheduling_ignored_during_execution
                    .as_ref()
            })),
            preferred_affinity: preferred(near.and_then(|a| {
                a.preferred_during_scheduling_ignored_during_execution
                    .as_ref()
            })),
            preferred_anti_affinity: preferred(far.and_then(|a| {
                a.preferred_during_scheduling_ignored_during_execution
                    .as_ref()
            })),
        };
        let is_empty = own.required_affinity.is_empty()
            && own.required_anti_affinity.is_empty()
            && own.preferred_affinity.is_empty()
            && own.preferred_anti_affinity.is_empty();
        (!is_empty).then_some(own)
    }
}

impl Term {
    /// A term of `pod`: without namespaces and their selector it is about the pod's own namespace.
    fn new(term: &PodAffinityTerm, pod: &Pod) -> Self {
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.extend(pod.metadata.namespace.clone());
        }
        Self {
            namespaces,
            namespace_selector: term.namespace_selector.clone(),
            selector: term.label_selector.clone(),
            topology_key: term.topology_key.clone(),
        }
    }

    /// Whether it is about `pod`, whose namespace has these labels.
    pub(crate) fn matches(&self, pod: &PodInfo, namespace: &Labels) -> bool {
        let in_namespace = self.namespaces.contains(&pod.namespace)
            || self
                .namespace_selector
                .as_ref()
                .is_some_and(|selector| selects(selector, namespace));
        in_namespace
            && self
                .selector
                .as_ref()
                .is_some_and(|selector| selects(selector, pod.labels()))
    }
}
