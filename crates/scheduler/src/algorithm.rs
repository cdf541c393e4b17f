//! One decision: the nodes that can run a pod, and of them the best. Pure.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use crate::{
    diagnosis::Diagnosis,
    framework::{CycleState, Point, PostFilterInput, Profile, Rejection},
    node_info::NodeInfo,
    pod_info::PodInfo,
    preemption::Preemption,
    snapshot::Snapshot,
};

/// Clusters up to this size are always looked at whole.
const MIN_FEASIBLE_NODES: usize = 100;
/// In large clusters at least so many of a hundred nodes are looked for.
const MIN_PERCENTAGE: usize = 5;

/// Where a pod goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) node: String,
    /// How many nodes were looked at.
    pub(crate) evaluated: usize,
    /// How many of them could run the pod.
    pub(crate) feasible: usize,
}

/// What becomes of the node that a pod was nominated for.
#[derive(Debug)]
pub(crate) enum Nomination {
    /// It stands.
    Keep,
    /// It is void.
    Clear,
    /// Preemption makes room on a node.
    Preempt(Preemption),
}

/// Why a pod goes nowhere.
#[derive(Debug)]
pub(crate) struct FitError {
    /// The message of the event and of the pod's condition.
    pub(crate) message: String,
    /// Who refused, for the queue; nobody when something failed that may succeed the next time.
    pub(crate) refused_by: BTreeSet<&'static str>,
    /// The node that the pod waits for.
    pub(crate) nomination: Nomination,
}

impl FitError {
    /// Something failed that has nothing to do with the nodes; the pod is tried again after a back-off.
    pub(crate) fn passing(message: String) -> Self {
        Self {
            message,
            refused_by: BTreeSet::new(),
            nomination: Nomination::Clear,
        }
    }
}

/// Decides, and remembers where the last search ended, so that all nodes get their share of looks.
#[derive(Debug)]
pub(crate) struct Algorithm {
    next_start: usize,
    random: XorShift,
    /// Upstream's `percentageOfNodesToScore`; 0 is by the size of the cluster.
    percentage: usize,
}

impl Algorithm {
    /// `seed` decides between nodes of equal score; `percentage` is upstream's `percentageOfNodesToScore`.
    pub(crate) fn new(seed: u64, percentage: usize) -> Self {
        Self {
            next_start: 0,
            random: XorShift(seed | 1),
            percentage,
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
        let all = nodes.nodes();
        if all.is_empty() {
            return Err(FitError {
                message: "no nodes available to schedule pods".to_owned(),
                refused_by: ["NodeName"].into(),
                nomination: Nomination::Clear,
            });
        }
        let mut diagnosis = Diagnosis {
            all_nodes: all.len(),
            ..Diagnosis::default()
        };
        let feasible = self.feasible(profile, state, pod, nodes, &mut diagnosis);
        let evaluated = feasible.len() + diagnosis.nodes.len();
        let best = match feasible.as_slice() {
            [] => return Err(self.fit_error(profile, state, pod, nodes, &diagnosis)),
            [only] => only,
            _ => {
                let scores = profile.score(state, pod, &feasible, nodes);
                &feasible[self.pick(&scores)]
            }
        };
        Ok(Decision {
            node: best.name.clone(),
            evaluated,
            feasible: feasible.len(),
        })
    }

    /// Nodes that can run the pod: that for which it is nominated if it fits there now, else as many as are worth comparing.
    fn feasible(
        &mut self,
        profile: &Profile,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        diagnosis: &mut Diagnosis,
    ) -> Vec<Arc<NodeInfo>> {
        let began = Instant::now();
        let narrowed = profile.pre_filter(state, pod, nodes);
        profile.asked(Point::PreFilter, &narrowed, began);
        let narrowed = match narrowed {
            Ok(narrowed) => narrowed,
            Err(rejection) => {
                diagnosis.refuse_outright(rejection);
                return Vec::new();
            }
        };
        if let Some(nominated) = nodes
            .nominated
            .node_of(&pod.uid)
            .and_then(|n| nodes.node(n))
            && profile
                .filter_with_nominated(state, pod, nominated, nodes)
                .is_ok()
        {
            return vec![Arc::clone(nominated)];
        }
        let began = Instant::now();
        let feasible = match narrowed.nodes {
            None => self.search(profile, state, pod, nodes, diagnosis),
            Some(names) => {
                filter_named(profile, state, pod, nodes, diagnosis, &names, &narrowed.by)
            }
        };
        let some = feasible.first().ok_or(());
        profile.asked(Point::Filter, &some, began);
        feasible
    }

    fn search(
        &mut self,
        profile: &Profile,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        diagnosis: &mut Diagnosis,
    ) -> Vec<Arc<NodeInfo>> {
        let all = nodes.nodes();
        let enough = feasible_nodes_to_find(all.len(), self.percentage);
        let mut feasible = Vec::with_capacity(enough);
        let mut looked_at = 0;
        for offset in 0..all.len() {
            let position = (self.next_start + offset) % all.len();
            looked_at += 1;
            match profile.filter_with_nominated(state, pod, &all[position], nodes) {
                Ok(()) => feasible.push(Arc::clone(&all[position])),
                Err(rejection) => diagnosis.refuse(position, rejection),
            }
            if feasible.len() >= enough {
                break;
            }
        }
        self.next_start = (self.next_start + looked_at) % all.len();
        feasible
    }

    fn fit_error(
        &mut self,
        profile: &Profile,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        diagnosis: &Diagnosis,
    ) -> FitError {
        let mut message = diagnosis.message();
        let start = usize::try_from(self.random.next() >> 1).unwrap_or(0);
        let input = PostFilterInput {
            profile,
            state,
            pod,
            nodes,
            diagnosis,
            start,
        };
        let began = Instant::now();
        let room = profile.post_filter(&input);
        profile.asked(Point::PostFilter, &room, began);
        let nomination = match room {
            Ok(preemption) => Nomination::Preempt(preemption),
            Err(no_room) => {
                if !no_room.message.is_empty() {
                    message.push(' ');
                    message.push_str(&no_room.message);
                }
                if no_room.clears_nomination {
                    Nomination::Clear
                } else {
                    Nomination::Keep
                }
            }
        };
        FitError {
            message,
            refused_by: diagnosis.refused_by.clone(),
            nomination,
        }
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

/// Of the nodes that PreFilter left, those that can run the pod.
fn filter_named(
    profile: &Profile,
    state: &CycleState,
    pod: &PodInfo,
    nodes: &Snapshot,
    diagnosis: &mut Diagnosis,
    names: &BTreeSet<String>,
    by: &BTreeSet<&'static str>,
) -> Vec<Arc<NodeInfo>> {
    let listed: Vec<&str> = by.iter().copied().collect();
    let left_out = format!("node(s) didn't satisfy plugin(s) [{}]", listed.join(" "));
    diagnosis.absent = Some(Rejection::new(false, [left_out]));
    diagnosis.refused_by.extend(by);
    let mut feasible = Vec::new();
    for position in names.iter().filter_map(|name| nodes.position(name)) {
        let node = &nodes.nodes()[position];
        match profile.filter_with_nominated(state, pod, node, nodes) {
            Ok(()) => feasible.push(Arc::clone(node)),
            Err(rejection) => diagnosis.refuse(position, rejection),
        }
    }
    feasible
}

/// How many feasible nodes are enough to choose from, in a cluster of `all` nodes: all of them up to a hundred, then a share that
/// falls from half to a twentieth, unless a percentage is given.
fn feasible_nodes_to_find(all: usize, percentage: usize) -> usize {
    if all < MIN_FEASIBLE_NODES || percentage >= 100 {
        return all;
    }
    let percentage = match percentage {
        0 => 50_usize.saturating_sub(all / 125).max(MIN_PERCENTAGE),
        given => given,
    };
    (all * percentage / 100).max(MIN_FEASIBLE_NODES)
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
    use crate::{
        cache::Cache,
        testing::{self, schedule},
    };

    #[test]
    fn no_nodes() {
        let error = schedule(&Cache::default(), &testing::pod("p")).unwrap_err();
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
        let error = schedule(&cache, &testing::pod("p").requests("1", "2Gi")).unwrap_err();
        assert_eq!(
            error.message,
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory. \
             preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
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
        let decision = schedule(&cache, &testing::pod("p").requests("1", "1Gi")).unwrap();
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
            let error = schedule(&cache, &pod).unwrap_err();
            let expected = format!("0/1 nodes are available: 1 {reason}.");
            assert!(error.message.starts_with(&expected), "{}", error.message);
        }
        let mut cache = Cache::default();
        cache.set_node(testing::node("n1").cordoned().build());
        let pod = testing::pod("p");
        let error = schedule(&cache, &pod).unwrap_err();
        assert_eq!(
            error.message,
            "0/1 nodes are available: 1 node(s) were unschedulable. \
             preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        );
        let tolerant = pod.edit(|spec| {
            spec.tolerations = Some(vec![Toleration {
                operator: Some("Exists".to_owned()),
                ..Toleration::default()
            }]);
        });
        assert!(schedule(&cache, &tolerant).is_ok());
    }

    #[test]
    fn large_clusters_are_looked_at_in_part() {
        assert_eq!(feasible_nodes_to_find(99, 0), 99);
        assert_eq!(feasible_nodes_to_find(1_000, 0), 420);
        assert_eq!(feasible_nodes_to_find(6_000, 0), 300);
        assert_eq!(feasible_nodes_to_find(1_000, 30), 300);
        assert_eq!(feasible_nodes_to_find(1_000, 100), 1_000);
    }
}
