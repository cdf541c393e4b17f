//! NodeVolumeLimits: a CSI driver attaches so many volumes to a node and no more (`CSINode.spec.drivers[].allocatable.count`).

use std::collections::{BTreeMap, BTreeSet};

use super::volume_binding::class_of;
use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, Plugin, PreFilter, PreFilterResult, Rejection,
        Verdict,
    },
    listers::Listers,
    node_info::NodeInfo,
    pod_info::PodInfo,
    snapshot::Snapshot,
};

/// Volumes of each driver, by what the driver calls them.
type Volumes = BTreeMap<String, BTreeSet<String>>;

pub(super) struct NodeVolumeLimits {
    listers: Listers,
}

impl NodeVolumeLimits {
    pub(super) fn new(listers: Listers) -> Self {
        Self { listers }
    }

    /// Adds the volumes that a pod has attached or will have. A claim that is not bound counts as the volume that it will get.
    fn add_volumes(&self, pod: &PodInfo, volumes: &mut Volumes) {
        for name in pod.claim_names() {
            let Some(claim) = self.listers.claims.get(&pod.namespace, &name) else {
                continue;
            };
            let volume = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref());
            let volume = volume.and_then(|volume| self.listers.volumes.get("", volume));
            let csi = volume.and_then(|v| v.spec.as_ref()?.csi.clone());
            let attached = csi.map(|csi| (csi.driver, csi.volume_handle)).or_else(|| {
                let class = self.listers.storage_classes.get("", class_of(&claim))?;
                let id = format!("{}-{}/{name}", class_of(&claim), pod.namespace);
                Some((class.provisioner.clone(), id))
            });
            if let Some((driver, id)) = attached {
                volumes.entry(driver).or_default().insert(id);
            }
        }
    }

    /// What is attached to a node for pods that are not counted on it (any more).
    fn add_attachments(&self, node: &str, volumes: &mut Volumes) {
        for attachment in self.listers.volume_attachments.list() {
            let spec = &attachment.spec;
            let Some(volume) = &spec.source.persistent_volume_name else {
                continue;
            };
            if spec.node_name != node {
                continue;
            }
            let volume = self.listers.volumes.get("", volume);
            if let Some(csi) = volume.and_then(|v| v.spec.as_ref()?.csi.clone()) {
                volumes
                    .entry(csi.driver)
                    .or_default()
                    .insert(csi.volume_handle);
            }
        }
    }
}

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::CsiNode,
            EventKind::AssignedPodRemoved,
            EventKind::PersistentVolumeClaim,
            EventKind::VolumeAttachmentRemoved,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::AssignedPodRemoved(gone) => gone.claim_names().next().is_some(),
            ClusterEvent::Object(EventKind::PersistentVolumeClaim, key) => pod.has_claim(key),
            _ => true,
        }
    }
    fn pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }
    fn filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
}

impl PreFilter for NodeVolumeLimits {
    fn pre_filter(
        &self,
        _: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        Ok(if pod.claim_names().next().is_none() {
            PreFilterResult::Skip
        } else {
            PreFilterResult::AllNodes
        })
    }
}

impl Filter for NodeVolumeLimits {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(csi_node) = self.listers.csi_nodes.get("", &node.name) else {
            return Verdict::Success;
        };
        let mut wanted = Volumes::new();
        self.add_volumes(pod, &mut wanted);
        let mut there = Volumes::new();
        for other in node.pods.values() {
            self.add_volumes(other, &mut there);
        }
        self.add_attachments(&node.name, &mut there);
        for driver in &csi_node.spec.drivers {
            let limit = driver.allocatable.as_ref().and_then(|a| a.count);
            let (Some(limit), Some(wanted)) = (limit, wanted.get(&driver.name)) else {
                continue;
            };
            let limit = usize::try_from(limit).unwrap_or(0);
            let there = there.get(&driver.name).cloned().unwrap_or_default();
            let new = wanted.difference(&there).count();
            if new > 0 && there.len() + new > limit {
                return Verdict::unschedulable(["node(s) exceed max volume count"]);
            }
        }
        Verdict::Success
    }
}
