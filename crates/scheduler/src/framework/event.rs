//! What happens in the cluster, as far as it may make a refused pod schedulable.

use std::sync::Arc;

use client::ObjectKey;
use k8s_openapi::api::core::v1::Node;

use crate::{node_info::NodeInfo, pod_info::PodInfo};

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
    /// The features that a node declares changed.
    NodeDeclaredFeatures,
    /// A node went.
    NodeRemoved,
    /// A pod came to a node.
    AssignedPodAdded,
    /// The labels of a pod on a node changed.
    AssignedPodLabels,
    /// A pod on a node asks for less than before.
    AssignedPodScaledDown,
    /// A pod that was on a node went or ended.
    AssignedPodRemoved,
    /// The waiting pod's labels changed.
    PodLabels,
    /// The waiting pod tolerates more than before.
    PodTolerations,
    /// The waiting pod asks for less than before.
    PodScaledDown,
    /// The waiting pod's gates went.
    PodGates,
    /// A PersistentVolumeClaim came or changed.
    PersistentVolumeClaim,
    /// A PersistentVolumeClaim went.
    PersistentVolumeClaimRemoved,
    /// A PersistentVolume came or changed.
    PersistentVolume,
    /// A StorageClass came or changed.
    StorageClass,
    /// A CSINode came or changed.
    CsiNode,
    /// A CSIDriver came or changed.
    CsiDriver,
    /// A CSIStorageCapacity came or changed.
    CsiStorageCapacity,
    /// A VolumeAttachment went.
    VolumeAttachmentRemoved,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) enum ClusterEvent {
    /// A node came.
    NodeAdded(Arc<Node>),
    /// A node changed in these ways.
    NodeUpdated(Arc<Node>, NodeChange),
    /// A node went.
    NodeRemoved,
    /// A pod came to its node.
    AssignedPodAdded(Arc<PodInfo>),
    /// A pod on a node changed.
    AssignedPodUpdated {
        /// Before.
        old: Arc<PodInfo>,
        /// Now.
        new: Arc<PodInfo>,
        /// In which ways.
        change: PodChange,
    },
    /// A pod left its node.
    AssignedPodRemoved(Arc<PodInfo>),
    /// The waiting pod itself changed in these ways.
    PodUpdated(PodChange),
    /// Another object came, changed or went.
    Object(EventKind, ObjectKey),
}

impl ClusterEvent {
    /// Upstream's name of it in metrics. Of several changes at once the first counts.
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::NodeAdded(_) => "NodeAdd",
            Self::NodeUpdated(_, change) if change.allocatable => "NodeUpdateNodeAllocatable",
            Self::NodeUpdated(_, change) if change.labels => "NodeUpdateNodeLabel",
            Self::NodeUpdated(..) => "NodeUpdateNodeTaint",
            Self::NodeRemoved => "NodeDelete",
            Self::AssignedPodAdded(_) => "AssignedPodAdd",
            Self::AssignedPodUpdated { .. } => "AssignedPodUpdate",
            Self::AssignedPodRemoved(_) => "AssignedPodDelete",
            Self::PodUpdated(_) => "UnschedulablePodUpdate",
            Self::Object(kind, _) => match kind {
                EventKind::PersistentVolumeClaim => "PersistentVolumeClaimUpdate",
                EventKind::PersistentVolumeClaimRemoved => "PersistentVolumeClaimDelete",
                EventKind::PersistentVolume => "PersistentVolumeUpdate",
                EventKind::StorageClass => "storage.k8s.io/StorageClassUpdate",
                EventKind::CsiNode => "storage.k8s.io/CSINodeUpdate",
                EventKind::CsiDriver => "storage.k8s.io/CSIDriverUpdate",
                EventKind::CsiStorageCapacity => "storage.k8s.io/CSIStorageCapacityUpdate",
                EventKind::VolumeAttachmentRemoved => "storage.k8s.io/VolumeAttachmentDelete",
                _ => "Other",
            },
        }
    }
}

/// What changed of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeChange {
    pub(crate) allocatable: bool,
    pub(crate) labels: bool,
    pub(crate) taints: bool,
    pub(crate) declared_features: bool,
}

impl NodeChange {
    /// What differs between two versions of a node, of what the scheduler looks at.
    pub(crate) fn between(old: &Node, new: &Node) -> Self {
        let (old_status, new_status) = (old.status.as_ref(), new.status.as_ref());
        let (old_spec, new_spec) = (old.spec.as_ref(), new.spec.as_ref());
        Self {
            allocatable: old_status.map(|s| &s.allocatable) != new_status.map(|s| &s.allocatable),
            labels: old.metadata.labels != new.metadata.labels,
            taints: old_spec.map(|s| (&s.taints, s.unschedulable.unwrap_or(false)))
                != new_spec.map(|s| (&s.taints, s.unschedulable.unwrap_or(false))),
            declared_features: old_status.map(|s| &s.declared_features)
                != new_status.map(|s| &s.declared_features),
        }
    }

    /// Whether nothing of interest changed.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

/// What changed of a pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodChange {
    pub(crate) labels: bool,
    pub(crate) tolerations: bool,
    pub(crate) scaled_down: bool,
    pub(crate) gates: bool,
}

impl PodChange {
    /// What differs between two versions of a pod, of what plugins look at and what can change at all.
    pub(crate) fn between(old: &PodInfo, new: &PodInfo) -> Self {
        Self {
            labels: old.pod.metadata.labels != new.pod.metadata.labels,
            tolerations: old.spec().tolerations != new.spec().tolerations,
            scaled_down: new.requests.is_anywhere_below(&old.requests),
            gates: old.spec().scheduling_gates != new.spec().scheduling_gates,
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
                EventKind::NodeDeclaredFeatures => change.declared_features,
                _ => false,
            },
            Self::NodeRemoved => kind == EventKind::NodeRemoved,
            Self::AssignedPodAdded(_) => kind == EventKind::AssignedPodAdded,
            Self::AssignedPodUpdated { change, .. } => match kind {
                EventKind::AssignedPodLabels => change.labels,
                EventKind::AssignedPodScaledDown => change.scaled_down,
                _ => false,
            },
            Self::AssignedPodRemoved(_) => kind == EventKind::AssignedPodRemoved,
            Self::PodUpdated(change) => match kind {
                EventKind::PodLabels => change.labels,
                EventKind::PodTolerations => change.tolerations,
                EventKind::PodScaledDown => change.scaled_down,
                EventKind::PodGates => change.gates,
                _ => false,
            },
            Self::Object(own, _) => *own == kind,
        }
    }

    /// The node that came or changed, without its pods.
    pub(crate) fn node(&self) -> Option<NodeInfo> {
        match self {
            Self::NodeAdded(node) | Self::NodeUpdated(node, _) => {
                Some(NodeInfo::new(Arc::clone(node)))
            }
            _ => None,
        }
    }
}
