//! The scheduling framework: the points at which plugins have a say, in the order of a pod's way through the scheduler.
//!
//! `PreEnqueue → QueueSort → PreFilter → Filter → PostFilter → PreScore → Score → Reserve → Permit → PreBind → Bind → PostBind`,
//! as <https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework/> describes them. Up to Reserve everything is
//! synchronous and without I/O; Permit and the binding points are asynchronous.

mod cycle_state;
mod event;
mod point;
mod profile;
mod profiles;
mod verdict;

use std::{cmp::Ordering, collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

pub(crate) use cycle_state::CycleState;
pub(crate) use event::{ClusterEvent, EventKind, NodeChange, PodChange};
pub(crate) use point::Point;
pub(crate) use profile::{Profile, Row};
pub(crate) use profiles::Profiles;
pub(crate) use verdict::{Rejection, Verdict};

use crate::{
    diagnosis::Diagnosis, node_info::NodeInfo, pod_info::PodInfo, preemption::Preemption,
    snapshot::Snapshot,
};

/// The best score of a node by one plugin; the worst is 0.
pub(crate) const MAX_NODE_SCORE: i64 = 100;

/// A plugin: its name, and the points at which it has a say.
pub(crate) trait Plugin: Send + Sync {
    /// Upstream's name.
    fn name(&self) -> &'static str;
    /// What may make a pod schedulable that this plugin has refused.
    fn events(&self) -> &'static [EventKind] {
        &[]
    }
    /// Whether `event`, which is of one of [`Plugin::events`], may help this very pod. When in doubt: yes.
    fn may_help(&self, _event: &ClusterEvent, _pod: &PodInfo) -> bool {
        true
    }
    fn pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        None
    }
    fn queue_sort(&self) -> Option<&dyn QueueSort> {
        None
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        None
    }
    fn filter(&self) -> Option<&dyn Filter> {
        None
    }
    fn post_filter(&self) -> Option<&dyn PostFilter> {
        None
    }
    fn pre_score(&self) -> Option<&dyn PreScore> {
        None
    }
    fn score(&self) -> Option<&dyn Score> {
        None
    }
    fn reserve(&self) -> Option<&dyn Reserve> {
        None
    }
    fn permit(&self) -> Option<&dyn Permit> {
        None
    }
    fn pre_bind(&self) -> Option<&dyn PreBind> {
        None
    }
    fn bind(&self) -> Option<&dyn Bind> {
        None
    }
    fn post_bind(&self) -> Option<&dyn PostBind> {
        None
    }
}

/// Before a pod may enter the active queue.
pub(crate) trait PreEnqueue {
    /// A refusal keeps the pod out until it changes.
    fn pre_enqueue(&self, pod: &PodInfo) -> Verdict;
}

/// Which of two waiting pods is tried first. Exactly one plugin sorts.
pub(crate) trait QueueSort {
    /// `Less` is tried first. Times are those at which the pods entered the queue.
    fn compare(&self, a: (&PodInfo, Timestamp), b: (&PodInfo, Timestamp)) -> Ordering;
}

/// What a plugin makes of a pod before its nodes are looked at.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PreFilterResult {
    /// Any node may do.
    AllNodes,
    /// Only these may.
    Nodes(BTreeSet<String>),
    /// This plugin has no part in this pod: its [`Filter`] is left out.
    Skip,
}

/// Once a pod, before its nodes are looked at.
pub(crate) trait PreFilter {
    /// May narrow the nodes to those named, or refuse the pod outright.
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<PreFilterResult, Rejection>;

    /// Changes what was remembered as if `other` had come to `node`.
    fn add_pod(&self, _: &mut CycleState, _pod: &PodInfo, _other: &PodInfo, _node: &NodeInfo) {}

    /// Changes what was remembered as if `other` had left `node`.
    fn remove_pod(&self, _: &mut CycleState, _pod: &PodInfo, _other: &PodInfo, _node: &NodeInfo) {}
}

/// Whether a node can run the pod.
pub(crate) trait Filter {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict;
}

/// What there is to look at when no node can run a pod.
pub(crate) struct PostFilterInput<'a> {
    pub(crate) profile: &'a Profile,
    pub(crate) state: &'a CycleState,
    pub(crate) pod: &'a PodInfo,
    pub(crate) nodes: &'a Snapshot,
    /// Who refused which node, and why.
    pub(crate) diagnosis: &'a Diagnosis,
    /// Any number: where to begin among nodes of which not all are looked at.
    pub(crate) start: usize,
}

/// What a [`PostFilter`] that could not make room says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom {
    /// For people; may be empty.
    pub(crate) message: String,
    /// Whether a nomination that the pod had is void.
    pub(crate) clears_nomination: bool,
}

/// When no node can: preemption and the like.
pub(crate) trait PostFilter {
    /// The node that the pod should wait for, and who has to go from it.
    fn post_filter(&self, input: &PostFilterInput<'_>) -> Result<Preemption, NoRoom>;
}

/// Once a pod, before nodes are scored.
pub(crate) trait PreScore {
    /// [`Verdict::Skip`] leaves this plugin's [`Score`] out.
    fn pre_score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        feasible: &[Arc<NodeInfo>],
        nodes: &Snapshot,
    ) -> Verdict;
}

/// How well a node suits the pod.
pub(crate) trait Score {
    /// Any number; [`Score::normalize`] brings it to `0..=MAX_NODE_SCORE`.
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64;
    /// Brings the scores of all feasible nodes, in their order, into range.
    fn normalize(&self, _: &CycleState, _feasible: &[Arc<NodeInfo>], _scores: &mut [i64]) {}
}

/// Bookkeeping of plugins for a decision.
pub(crate) trait Reserve {
    fn reserve(&self, state: &mut CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict;
    /// Takes it back. Called for every plugin when anything after the decision fails; must not mind being called in vain.
    fn unreserve(&self, state: &mut CycleState, pod: &PodInfo, node: &str);
}

/// May delay a binding.
#[async_trait]
pub(crate) trait Permit: Send + Sync {
    /// Answers when the pod may go on, or not.
    async fn permit(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Verdict;
}

/// What must be done before a pod is bound.
#[async_trait]
pub(crate) trait PreBind: Send + Sync {
    async fn pre_bind(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Verdict;
}

/// Binds the pod. The first plugin that does not [`Verdict::Skip`] decides.
#[async_trait]
pub(crate) trait Bind: Send + Sync {
    async fn bind(&self, state: &CycleState, pod: &PodInfo, node: &str) -> Verdict;
}

/// After a pod has been bound.
#[async_trait]
pub(crate) trait PostBind: Send + Sync {
    async fn post_bind(&self, state: &CycleState, pod: &PodInfo, node: &str);
}

/// Scales scores so that the highest becomes [`MAX_NODE_SCORE`]; `reverse` makes the lowest the best.
pub(crate) fn normalize_by_maximum(scores: &mut [i64], reverse: bool) {
    let maximum = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if maximum == 0 {
            0
        } else {
            MAX_NODE_SCORE * *score / maximum
        };
        *score = if reverse {
            MAX_NODE_SCORE - scaled
        } else {
            scaled
        };
    }
}
