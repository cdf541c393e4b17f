//! One decision: the nodes that can run a pod, and of them the best. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    cache::Snapshot,
    framework::{CycleState, Profile, Rejection},
    node_info::NodeInfo,
    pod_info::PodInfo,
};

/// Clusters up to this size are always looked at whole.
const MIN_FEASIBLE_NODES: usize = 100;
/// In large clusters at least so many of a hundred nodes are looked for.
const MIN_PERCENTAGE: usize = 5;

/// Where a pod goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) node: String,
}

/// Why a pod goes nowhere.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FitError {
    /// The message of the event and of the pod's condition.
    pub(crate) message: String,
    /// Who refused, for the queue.
    pub(crate) refused_by: BTreeSet<&'static str>,
    /// The node that the pod waits for, if preemption has made room there.
    pub(crate) nominated_node: Option<String>,
}

/// Decides, and remembers where the last search ended, so that all nodes get their share of looks.
#[derive(Debug)]
pub(crate) struct Algorithm {
    next_start: usize,
    random: XorShift,
}

impl Algorithm {
    /// `seed` decides between nodes of equal score.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            next_start: 0,
            random: XorShift(seed | 1),
        }
    }

    /// Finds a node for `pod`.
    pub(crate) fn schedule(
        &mut self,
        profile: &Profile,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<Decision, FitError> {
        let all = &nodes.0;
        if all.is_empty() {
            return Err(FitError {
                message: "no nodes available to schedule pods".to_owned(),
                refused_by: BTreeSet::from(["NodeResourcesFit", "NodeName"]),
                nominated_node: None,
            });
        }
        let allowed = match profile.pre_filter(state, pod, nodes) {
            Ok(allowed) => allowed,
            Err(rejection) => {
                let reasons = rejection.reasons.join(", ");
                return Err(FitError {
                    message: format!("0/{} nodes are available: {reasons}.", all.len()),
                    refused_by: BTreeSet::from([rejection.plugin]),
                    nominated_node: None,
                });
            }
        };
        let mut rejections = Vec::new();
        let feasible = self.feasible(profile, state, pod, all, allowed.as_ref(), &mut rejections);
        match feasible.as_slice() {
            [] => Err(fit_error(profile, state, pod, nodes, &rejections)),
            [only] => Ok(Decision {
                node: only.name.clone(),
            }),
            _ => {
                let scores = profile.score(state, pod, &feasible);
                let best = self.pick(&scores);
                Ok(Decision {
                    node: feasible[best].name.clone(),
                })
            }
        }
    }

    fn feasible(
        &mut self,
        profile: &Profile,
        state: &CycleState,
        pod: &PodInfo,
        all: &[Arc<NodeInfo>],
        allowed: Option<&BTreeSet<String>>,
        rejections: &mut Vec<Rejection>,
    ) -> Vec<Arc<NodeInfo>> {
        let enough = feasible_nodes_to_find(all.len());
        let mut feasible = Vec::with_capacity(enough.min(all.len()));
        let mut looked_at = 0;
        for offset in 0..all.len() {
            let node = &all[(self.next_start + offset) % all.len()];
            looked_at += 1;
            if allowed.is_some_and(|names| !names.contains(&node.name)) {
                // As upstream: nodes that PreFilter left out are counted under its own words.
                rejections.push(
                    Rejection::new(false, ["node(s) didn't satisfy plugin(s) [NodeAffinity]"])
                        .by("NodeAffinity"),
                );
                continue;
            }
            match profile.filter(state, pod, node) {
                Ok(()) => feasible.push(Arc::clone(node)),
                Err(rejection) => rejections.push(rejection),
            }
            if feasible.len() >= enough {
                break;
            }
        }
        self.next_start = (self.next_start + looked_at) % all.len();
        feasible
    }

    /// The place of the highest score; one of them at random when several share it.
    fn pick(&mut self, scores: &[i64]) -> usize {
        let (mut best, mut ties) = (0, 1);
        for (index, score) in scores.iter().enumerate().skip(1) {
            if *score > scores[best] {
                (best, ties) = (index, 1);
            } else if *score == scores[best] {
                ties += 1;
                if self.random.next().is_multiple_of(ties) {
                    best = index;
                }
            }
        }
        best
    }
}

/// How many feasible nodes are enough to choose from, in a cluster of `all` nodes: all of them up to a hundred, then a share that
/// falls from half to a twentieth (upstream's `percentageOfNodesToScore: 0`).
fn feasible_nodes_to_find(all: usize) -> usize {
    if all < MIN_FEASIBLE_NODES {
        return all;
    }
    let percentage = 50_usize.saturating_sub(all / 125).max(MIN_PERCENTAGE);
    (all * percentage / 100).max(MIN_FEASIBLE_NODES)
}

fn fit_error(
    profile: &Profile,
    state: &CycleState,
    pod: &PodInfo,
    nodes: &Snapshot,
    rejections: &[Rejection],
) -> FitError {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in rejections.iter().flat_map(|rejection| &rejection.reasons) {
        *counts.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<String> = counts
        .into_iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    reasons.sort();
    let mut message = format!(
        "0/{} nodes are available: {}.",
        nodes.0.len(),
        reasons.join(", ")
    );
    let nominated_node = match profile.post_filter(state, pod, nodes) {
        Ok(nominated) => nominated,
        Err(said) => {
            message.push(' ');
            message.push_str(&said.join(", "));
            None
        }
    };
    let refused_by = rejections
        .iter()
        .map(|rejection| rejection.plugin)
        .collect();
    FitError {
        message,
        refused_by,
        nominated_node,
    }
}

/// A small generator: ties between equal nodes need no better one.
#[derive(Debug)]
struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cache::Cache, plugins, testing};

    fn schedule(cache: &mut Cache, pod: &testing::PodBuilder) -> Result<Decision, FitError> {
        let profile = plugins::profile_for_tests();
        let mut state = CycleState::default();
        Algorithm::new(7).schedule(&profile, &mut state, &pod.info(), &cache.snapshot())
    }

    #[test]
    fn no_nodes() {
        let error = schedule(&mut Cache::default(), &testing::pod("p")).unwrap_err();
        assert_eq!(error.message, "no nodes available to schedule pods");
    }

    #[test]
    fn reasons_are_counted_and_sorted() {
        let mut cache = Cache::default();
        for (name, cpu) in [("n1", "100m"), ("n2", "200m")] {
            cache.set_node(testing::node(name).allocatable(cpu, "1Gi").build());
        }
        cache.set_node(
            testing::node("n3")
                .allocatable("8", "1Gi")
                .taint("gpu", "yes", "NoSchedule")
                .build(),
        );
        let error = schedule(&mut cache, &testing::pod("p").requests("1", "2Gi")).unwrap_err();
        assert_eq!(
            error.message,
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory."
        );
        assert_eq!(
            error.refused_by,
            BTreeSet::from(["NodeResourcesFit", "TaintToleration"])
        );
    }

    #[test]
    fn the_emptier_node_wins() {
        let mut cache = Cache::default();
        for name in ["n1", "n2"] {
            cache.set_node(testing::node(name).allocatable("4", "8Gi").build());
        }
        cache.assume("n1", testing::pod("other").requests("2", "4Gi").info());
        let decision = schedule(&mut cache, &testing::pod("p").requests("1", "1Gi")).unwrap();
        assert_eq!(decision.node, "n2");
    }

    #[test]
    fn each_plugin_says_why() {
        use k8s_openapi::api::core::v1::Toleration;
        let cases = [
            (
                testing::pod("p").on_node("other"),
                "node(s) didn't match the requested node name",
            ),
            (
                testing::pod("p").host_port(80),
                "node(s) didn't have free ports for the requested pod ports",
            ),
            (
                testing::pod("p").edit(|spec| {
                    spec.node_selector = Some([("disk".to_owned(), "ssd".to_owned())].into());
                }),
                "node(s) didn't match Pod's node affinity/selector",
            ),
        ];
        for (pod, reason) in cases {
            let mut cache = Cache::default();
            cache.set_node(testing::node("n1").build());
            cache.assume("n1", testing::pod("web").host_port(80).info());
            let error = schedule(&mut cache, &pod).unwrap_err();
            assert_eq!(
                error.message,
                format!("0/1 nodes are available: 1 {reason}.")
            );
        }
        let mut cache = Cache::default();
        cache.set_node(testing::node("n1").cordoned().build());
        let pod = testing::pod("p");
        let error = schedule(&mut cache, &pod).unwrap_err();
        assert_eq!(
            error.message,
            "0/1 nodes are available: 1 node(s) were unschedulable."
        );
        let tolerant = pod.edit(|spec| {
            spec.tolerations = Some(vec![Toleration {
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            }]);
        });
        assert!(schedule(&mut cache, &tolerant).is_ok());
    }

    #[test]
    fn large_clusters_are_looked_at_in_part() {
        assert_eq!(feasible_nodes_to_find(99), 99);
        assert_eq!(feasible_nodes_to_find(1_000), 420);
        assert_eq!(feasible_nodes_to_find(6_000), 300);
    }
}
