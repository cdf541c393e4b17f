//! What happens in the cluster, as far as it may make a refused pod schedulable.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use crate::pod_info::PodInfo;

/// Sorts of events, for plugins to name those that concern them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    /// A node came.
    NodeAdded,
    /// A node's allocatable resources changed.
    NodeAllocatable,
    /// A node's labels changed.
    NodeLabels,
    /// A node's taints changed, or it was cordoned or uncordoned.
    NodeTaints,
    /// A pod that was on a node went or ended.
    AssignedPodRemoved,
    /// The waiting pod itself changed.
    PodChanged,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) enum ClusterEvent {
    /// A node came.
    NodeAdded(Arc<Node>),
    /// A node changed in these ways.
    NodeUpdated(Arc<Node>, NodeChange),
    /// A pod left its node.
    AssignedPodRemoved(Arc<PodInfo>),
    /// The waiting pod itself changed.
    PodChanged,
}

/// What changed of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeChange {
    pub(crate) allocatable: bool,
    pub(crate) labels: bool,
    pub(crate) taints: bool,
}

impl NodeChange {
    /// What differs between two versions of a node, of what the scheduler looks at.
    pub(crate) fn between(old: &Node, new: &Node) -> Self {
        let allocatable = |node: &Node| node.status.as_ref().and_then(|s| s.allocatable.clone());
        let taints = |node: &Node| {
            node.spec
                .as_ref()
                .map(|s| (s.taints.clone(), s.unschedulable.unwrap_or(false)))
        };
        Self {
            allocatable: allocatable(old) != allocatable(new),
            labels: old.metadata.labels != new.metadata.labels,
            taints: taints(old) != taints(new),
        }
    }

    /// Whether nothing of interest changed.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl ClusterEvent {
    /// Whether the event is of this sort.
    pub(crate) fn is(&self, kind: EventKind) -> bool {
        match self {
            Self::NodeAdded(_) => kind == EventKind::NodeAdded,
            Self::NodeUpdated(_, change) => match kind {
                EventKind::NodeAllocatable => change.allocatable,
                EventKind::NodeLabels => change.labels,
                EventKind::NodeTaints => change.taints,
                _ => false,
            },
            Self::AssignedPodRemoved(_) => kind == EventKind::AssignedPodRemoved,
            Self::PodChanged => kind == EventKind::PodChanged,
        }
    }
}
