//! Why no node can run a pod: who refused which node, and the sentence that people read in `FailedScheduling` events.

use std::collections::{BTreeMap, BTreeSet};

use crate::framework::Rejection;

/// What was found while looking for a node.
#[derive(Debug, Default)]
pub(crate) struct Diagnosis {
    /// How many nodes there are.
    pub(crate) all_nodes: usize,
    /// Refusals by the node's place in the snapshot.
    pub(crate) nodes: BTreeMap<usize, Rejection>,
    /// What holds for every node that is not in [`Diagnosis::nodes`]; by default nothing is said, and nothing would help.
    pub(crate) absent: Option<Rejection>,
    /// The pod was refused before any node was looked at.
    pub(crate) refused_outright: bool,
    /// Who refused, for the queue.
    pub(crate) refused_by: BTreeSet<&'static str>,
}

impl Diagnosis {
    /// The pod as such is refused.
    pub(crate) fn refuse_outright(&mut self, rejection: Rejection) {
        self.refused_by.insert(rejection.plugin);
        self.absent = Some(rejection);
        self.refused_outright = true;
    }

    /// A node is refused.
    pub(crate) fn refuse(&mut self, position: usize, rejection: Rejection) {
        self.refused_by.insert(rejection.plugin);
        self.nodes.insert(position, rejection);
    }

    /// Whether the pod might fit on that node if others went from it.
    pub(crate) fn is_resolvable(&self, position: usize) -> bool {
        self.nodes
            .get(&position)
            .or(self.absent.as_ref())
            .is_some_and(|rejection| rejection.resolvable)
    }

    /// `0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.`
    pub(crate) fn message(&self) -> String {
        let head = format!("0/{} nodes are available:", self.all_nodes);
        if let (true, Some(rejection)) = (self.refused_outright, &self.absent) {
            return format!("{head} {}.", rejection.reasons.join(", "));
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.nodes.values().flat_map(|rejection| &rejection.reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        let absent = self.all_nodes.saturating_sub(self.nodes.len());
        if absent > 0 {
            for reason in self.absent.iter().flat_map(|rejection| &rejection.reasons) {
                *counts.entry(reason).or_default() += absent;
            }
        }
        let mut reasons: Vec<String> = counts
            .into_iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        reasons.sort();
        if reasons.is_empty() {
            return head;
        }
        format!("{head} {}.", reasons.join(", "))
    }
}
