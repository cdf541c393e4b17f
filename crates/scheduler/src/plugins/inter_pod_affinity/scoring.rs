//! Preferred terms, of the incoming pod and of those that run: each pod that matches one adds its weight to the domain it is in.

use std::{collections::BTreeMap, sync::Arc};

use client::Labels;

use super::{InterPodAffinity, wishes};
use crate::{
    affinity::Term,
    framework::{CycleState, MAX_NODE_SCORE, Plugin, PreScore, Score, Verdict},
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

/// The sum of weights by topology key and label value.
#[derive(Clone, Default)]
struct Weights(BTreeMap<String, BTreeMap<String, i64>>);

impl Weights {
    fn add(&mut self, node: &NodeInfo, key: &str, weight: i64) {
        let Some(value) = node.label(key) else { return };
        let values = self.0.entry(key.to_owned()).or_default();
        *values.entry(value.to_owned()).or_default() += weight;
    }
}

/// What the incoming pod prefers, with its namespaces resolved.
struct Preferred {
    affinity: Vec<(Term, i64)>,
    anti_affinity: Vec<(Term, i64)>,
    namespace: Labels,
    hard_weight: i64,
}

impl Preferred {
    /// Adds what follows from `other`, which runs on `node`.
    fn weigh(&self, pod: &PodInfo, other: &PodInfo, node: &NodeInfo, weights: &mut Weights) {
        let none = Labels::new();
        let mut own = |terms: &[(Term, i64)], sign: i64| {
            for (term, weight) in terms {
                if term.matches(other, &none) {
                    weights.add(node, &term.topology_key, sign * weight);
                }
            }
        };
        own(&self.affinity, 1);
        own(&self.anti_affinity, -1);
        let theirs = wishes(other);
        let mut add = |term: &Term, weight: i64| {
            if term.matches(pod, &self.namespace) {
                weights.add(node, &term.topology_key, weight);
            }
        };
        if self.hard_weight > 0 {
            for term in &theirs.required_affinity {
                add(term, self.hard_weight);
            }
        }
        for (term, weight) in &theirs.preferred_affinity {
            add(term, *weight);
        }
        for (term, weight) in &theirs.preferred_anti_affinity {
            add(term, -weight);
        }
    }
}

impl PreScore for InterPodAffinity {
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        _: &[Arc<NodeInfo>],
        nodes: &Snapshot,
    ) -> Verdict {
        let own = wishes(pod);
        let prefers = !own.preferred_affinity.is_empty() || !own.preferred_anti_affinity.is_empty();
        if self.args.ignore_preferred_terms_of_existing_pods && !prefers {
            return Verdict::Skip;
        }
        let preferred = Preferred {
            affinity: self.weighted_resolved(&own.preferred_affinity),
            anti_affinity: self.weighted_resolved(&own.preferred_anti_affinity),
            namespace: self.namespace_labels(&pod.namespace),
            hard_weight: self.args.hard_pod_affinity_weight,
        };
        let mut weights = Weights::default();
        if prefers {
            for node in nodes.nodes() {
                for other in node.pods.values() {
                    preferred.weigh(pod, other, node, &mut weights);
                }
            }
        } else {
            // Who prefers nothing itself is concerned only by pods that do.
            for node in nodes.with_affinity() {
                for other in node.pods_with_affinity.values() {
                    preferred.weigh(pod, other, node, &mut weights);
                }
            }
        }
        if weights.0.is_empty() {
            return Verdict::Skip;
        }
        state.write(self.name(), weights);
        Verdict::Success
    }
}

impl Score for InterPodAffinity {
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(weights) = state.read::<Weights>(self.name()) else {
            return 0;
        };
        weights
            .0
            .iter()
            .filter_map(|(key, values)| values.get(node.label(key)?))
            .sum()
    }

    fn normalize(&self, _: &CycleState, _: &[Arc<NodeInfo>], scores: &mut [i64]) {
        let least = scores.iter().copied().min().unwrap_or(0);
        let most = scores.iter().copied().max().unwrap_or(0);
        for score in scores {
            *score = if most > least {
                (MAX_NODE_SCORE as f64 * ((*score - least) as f64 / (most - least) as f64)) as i64
            } else {
                0
            };
        }
    }
}
