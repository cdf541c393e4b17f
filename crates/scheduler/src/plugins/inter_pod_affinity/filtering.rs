//! Required terms. Matching pods are counted once for each (key, value) of node labels; a node is then judged by its own labels alone.

use std::collections::BTreeMap;

use client::Labels;

use super::{InterPodAffinity, wishes};
use crate::{
    affinity::Term,
    framework::{CycleState, Filter, Plugin, PreFilter, PreFilterResult, Rejection, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

/// How many (pod, term) pairs there are in a domain: by topology key, then by the label's value. Domains without any are not in it.
#[derive(Clone, Debug, Default)]
struct Domains(BTreeMap<String, BTreeMap<String, i64>>);

impl Domains {
    fn add(&mut self, node: &NodeInfo, key: &str, delta: i64) {
        let Some(value) = node.label(key) else { return };
        if !self.0.contains_key(key) {
            self.0.insert(key.to_owned(), BTreeMap::new());
        }
        let Some(values) = self.0.get_mut(key) else {
            return;
        };
        let count = values.entry(value.to_owned()).or_default();
        *count += delta;
        if *count == 0 {
            values.remove(value);
            if values.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Whether there is any in the domain of `key` that the node is in.
    fn has(&self, node: &NodeInfo, key: &str) -> bool {
        let count = node
            .label(key)
            .and_then(|value| self.0.get(key)?.get(value));
        count.is_some_and(|&count| count > 0)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is known before nodes are judged.
#[derive(Clone)]
struct Required {
    affinity: Vec<Term>,
    anti_affinity: Vec<Term>,
    namespace: Labels,
    /// Where running pods require that the incoming one be not.
    shunned_by: Domains,
    /// Where there are pods that match all of the incoming one's affinities.
    wanted: Domains,
    /// Where there are pods that match one of its anti-affinities.
    unwanted: Domains,
}

impl Required {
    fn update(&mut self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, delta: i64) {
        for term in &wishes(other).required_anti_affinity {
            if term.matches(pod, &self.namespace) {
                self.shunned_by.add(node, &term.topology_key, delta);
            }
        }
        // The own terms' namespaces are resolved: the other's namespace need not be looked at.
        let none = Labels::new();
        if matches_all(&self.affinity, other) {
            for term in &self.affinity {
                self.wanted.add(node, &term.topology_key, delta);
            }
        }
        for term in &self.anti_affinity {
            if term.matches(other, &none) {
                self.unwanted.add(node, &term.topology_key, delta);
            }
        }
    }
}

fn matches_all(terms: &[Term], pod: &PodInfo) -> bool {
    let none = Labels::new();
    !terms.is_empty() && terms.iter().all(|term| term.matches(pod, &none))
}

impl PreFilter for InterPodAffinity {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        let own = wishes(pod);
        let mut required = Required {
            affinity: self.all_resolved(&own.required_affinity),
            anti_affinity: self.all_resolved(&own.required_anti_affinity),
            namespace: self.namespace_labels(&pod.namespace),
            shunned_by: Domains::default(),
            wanted: Domains::default(),
            unwanted: Domains::default(),
        };
        if required.affinity.is_empty() && required.anti_affinity.is_empty() {
            for node in nodes.with_required_anti_affinity() {
                for other in node.pods_with_required_anti_affinity.values() {
                    required.update(pod, other, node, 1);
                }
            }
            if required.shunned_by.is_empty() {
                return Ok(PreFilterResult::Skip);
            }
        } else {
            for node in nodes.nodes() {
                for other in node.pods.values() {
                    required.update(pod, other, node, 1);
                }
            }
        }
        state.write(self.name(), required);
        Ok(PreFilterResult::AllNodes)
    }

    fn add_pod(&self, state: &mut CycleState, pod: &PodInfo, other: &PodInfo, node: &NodeInfo) {
        if let Some(required) = state.edit::<Required>(self.name()) {
            required.update(pod, other, node, 1);
        }
    }

    fn remove_pod(&self, state: &mut CycleState, pod: &PodInfo, other: &PodInfo, node: &NodeInfo) {
        if let Some(required) = state.edit::<Required>(self.name()) {
            required.update(pod, other, node, -1);
        }
    }
}

impl Filter for InterPodAffinity {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(required) = state.read::<Required>(self.name()) else {
            return Verdict::Success;
        };
        if !is_near_enough(required, pod, node) {
            return Verdict::unresolvable("node(s) didn't match pod affinity rules");
        }
        let mut anti_affinity = required.anti_affinity.iter();
        if anti_affinity.any(|term| required.unwanted.has(node, &term.topology_key)) {
            return Verdict::unschedulable(["node(s) didn't match pod anti-affinity rules"]);
        }
        let mut shunning = required.shunned_by.0.keys();
        if shunning.any(|key| required.shunned_by.has(node, key)) {
            let reason = "node(s) didn't satisfy existing pods anti-affinity rules";
            return Verdict::unschedulable([reason]);
        }
        Verdict::Success
    }
}

/// Whether the pods that the incoming one has to be near to are there. The first of a group that wants to be near to itself may go
/// anywhere where there are the labels.
fn is_near_enough(required: &Required, pod: &PodInfo, node: &NodeInfo) -> bool {
    let mut keys = required.affinity.iter().map(|term| &term.topology_key);
    let mut labelled = keys.clone();
    if !labelled.all(|key| node.label(key).is_some()) {
        return false;
    }
    keys.all(|key| required.wanted.has(node, key))
        || (required.wanted.is_empty() && matches_all(&required.affinity, pod))
}
