//! A constraint, with its defaults filled in, and the pods and nodes that it counts.

use std::collections::BTreeMap;

use client::{Labels, selects, selects_everything, selects_labels};
use k8s_openapi::{
    api::core::v1::TopologySpreadConstraint,
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
};

use crate::{
    listers::Listers,
    node_info::NodeInfo,
    plugins::{node_affinity, taint_toleration},
    pod_info::PodInfo,
};

/// A topology spread constraint.
#[derive(Clone, Debug)]
pub(super) struct Constraint {
    pub(super) topology_key: String,
    pub(super) max_skew: i64,
    pub(super) min_domains: i64,
    /// None selects nothing.
    pub(super) selector: Option<LabelSelector>,
    honors_affinity: bool,
    honors_taints: bool,
}

impl Constraint {
    /// Of a pod with these labels.
    pub(super) fn new(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let mut selector = constraint.label_selector.clone();
        for key in constraint.match_label_keys.iter().flatten() {
            if let (Some(selector), Some(value)) = (&mut selector, labels.get(key)) {
                selector
                    .match_expressions
                    .get_or_insert_default()
                    .push(LabelSelectorRequirement {
                        key: key.clone(),
                        operator: "In".to_owned(),
                        values: Some(vec![value.clone()]),
                    });
            }
        }
        Self {
            topology_key: constraint.topology_key.clone(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: i64::from(constraint.min_domains.unwrap_or(1)),
            selector,
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// The domain that a node is in.
    pub(super) fn domain<'a>(&self, node: &'a NodeInfo) -> Option<&'a str> {
        node.label(&self.topology_key)
    }

    /// Whether a pod's labels are those that are spread.
    pub(super) fn selects(&self, pod: &PodInfo) -> bool {
        self.selector
            .as_ref()
            .is_some_and(|selector| selects(selector, pod.labels()))
    }

    /// Whether a node counts at all for `pod`: one where it cannot go may be left out.
    pub(super) fn includes(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        (!self.honors_affinity || node_affinity::is_allowed(pod, node))
            && (!self.honors_taints || taint_toleration::is_tolerated(pod, node))
    }

    /// How many pods of `namespace` on a node match. Pods on their way out do not count, and the empty selector matches none.
    pub(super) fn count(&self, node: &NodeInfo, namespace: &str) -> i64 {
        let Some(selector) = self.selector.as_ref().filter(|s| !selects_everything(s)) else {
            return 0;
        };
        let pods = node.pods.values().filter(|pod| {
            pod.namespace == namespace && !pod.is_terminating() && selects(selector, pod.labels())
        });
        i64::try_from(pods.count()).unwrap_or(i64::MAX)
    }
}

/// What the services that select a pod and its owner select, all of it together. `None` if nobody selects it.
pub(super) fn default_selector(pod: &PodInfo, listers: &Listers) -> Option<LabelSelector> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    if !pod.labels().is_empty() && !listers.services.is_empty() {
        for service in listers.services.list_namespace(&pod.namespace) {
            let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
            if let Some(selector) = selector.filter(|s| !s.is_empty())
                && selects_labels(selector, pod.labels())
            {
                labels.extend(selector.clone());
            }
        }
    }
    let mut expressions = Vec::new();
    if let Some(owner) = owner_selector(pod, listers) {
        labels.extend(owner.match_labels.unwrap_or_default());
        expressions.extend(owner.match_expressions.unwrap_or_default());
    }
    let selector = LabelSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    };
    (!selects_everything(&selector)).then_some(selector)
}

fn owner_selector(pod: &PodInfo, listers: &Listers) -> Option<LabelSelector> {
    let mut owners = pod.pod.metadata.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true))?;
    let (namespace, name) = (&pod.namespace, &owner.name);
    match (owner.api_version.as_str(), owner.kind.as_str()) {
        ("v1", "ReplicationController") => {
            let owner = listers.replication_controllers.get(namespace, name)?;
            let labels = owner.spec.as_ref()?.selector.clone()?;
            Some(LabelSelector {
                match_labels: Some(labels),
                match_expressions: None,
            })
        }
        ("apps/v1", "ReplicaSet") => {
            let owner = listers.replica_sets.get(namespace, name)?;
            Some(owner.spec.as_ref()?.selector.clone())
        }
        ("apps/v1", "StatefulSet") => {
            let owner = listers.stateful_sets.get(namespace, name)?;
            Some(owner.spec.as_ref()?.selector.clone())
        }
        _ => None,
    }
}
