//! VolumeZone: a volume that is in a zone or region (by its labels) can be used by nodes there alone.

use crate::{
    framework::{
        ClusterEvent, CycleState, EventKind, Filter, Plugin, PreFilter, PreFilterResult, Rejection,
        Verdict,
    },
    listers::Listers,
    node_info::NodeInfo,
    plugins::volume_binding::{class_of, waits_for_consumer},
    pod_info::PodInfo,
    snapshot::Snapshot,
};

/// Labels of volumes and nodes that say where they are: as they are now, and as they were.
const TOPOLOGY_LABELS: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];
/// Between several zones of one volume.
const SEPARATOR: &str = "__";

pub(super) struct VolumeZone {
    listers: Listers,
}

/// Labels, each with the values of which the node must have one.
#[derive(Clone)]
struct Places(Vec<(&'static str, Vec<String>)>);

impl VolumeZone {
    pub(super) fn new(listers: Listers) -> Self {
        Self { listers }
    }

    fn places(&self, pod: &PodInfo) -> Result<Places, Rejection> {
        let refuse = |reason: String| Err(Rejection::new(false, [reason]));
        let mut places = Vec::new();
        for name in pod.claim_names() {
            let Some(claim) = self.listers.claims.get(&pod.namespace, &name) else {
                return refuse(format!("persistentvolumeclaim {name:?} not found"));
            };
            let volume = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref());
            let Some(volume) = volume.filter(|name| !name.is_empty()) else {
                let class = class_of(&claim);
                if class.is_empty() {
                    return refuse(
                        "PersistentVolumeClaim had no pv name and storageClass name".to_owned(),
                    );
                }
                match self.listers.storage_classes.get("", class) {
                    None => {
                        return refuse(format!("storageclass.storage.k8s.io {class:?} not found"));
                    }
                    Some(class) if waits_for_consumer(&class) => continue,
                    Some(_) => return refuse("PersistentVolume had no name".to_owned()),
                }
            };
            let Some(volume) = self.listers.volumes.get("", volume) else {
                return refuse(format!("persistentvolume {volume:?} not found"));
            };
            for label in TOPOLOGY_LABELS {
                let labels = volume.metadata.labels.as_ref();
                if let Some(values) = labels.and_then(|labels| labels.get(label)) {
                    places.push((label, values.split(SEPARATOR).map(str::to_owned).collect()));
                }
            }
        }
        Ok(Places(places))
    }
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::NodeAdded,
            EventKind::NodeLabels,
            EventKind::PersistentVolumeClaim,
            EventKind::PersistentVolume,
            EventKind::StorageClass,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
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

impl PreFilter for VolumeZone {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        _: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        let places = self.places(pod)?;
        if places.0.is_empty() {
            return Ok(PreFilterResult::Skip);
        }
        state.write(self.name(), places);
        Ok(PreFilterResult::AllNodes)
    }
}

impl Filter for VolumeZone {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(Places(places)) = state.read::<Places>(self.name()) else {
            return Verdict::Success;
        };
        // A node that does not say where it is takes anything.
        if TOPOLOGY_LABELS
            .iter()
            .all(|label| node.label(label).is_none())
        {
            return Verdict::Success;
        }
        let is_there = |(label, values): &(&str, Vec<String>)| {
            let own = node.label(label).or_else(|| node.label(&ga_label(label)));
            own.is_some_and(|own| values.iter().any(|value| value == own))
        };
        if places.iter().all(is_there) {
            Verdict::Success
        } else {
            Verdict::unresolvable("node(s) had no available volume zone")
        }
    }
}

/// The present name of a label.
fn ga_label(label: &str) -> String {
    label.replace(
        "failure-domain.beta.kubernetes.io",
        "topology.kubernetes.io",
    )
}
