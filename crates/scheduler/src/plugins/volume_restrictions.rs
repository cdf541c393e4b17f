//! VolumeRestrictions: disks that only one node can attach, and claims that only one pod may use (`ReadWriteOncePod`).

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;

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

const IN_USE: &str = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod";

pub(super) struct VolumeRestrictions {
    listers: Listers,
}

/// The claims of the pod that one pod alone may use, and how many pods use them already.
#[derive(Clone)]
struct Exclusive {
    claims: BTreeSet<String>,
    users: usize,
}

impl VolumeRestrictions {
    pub(super) fn new(listers: Listers) -> Self {
        Self { listers }
    }

    fn exclusive_claims(&self, pod: &PodInfo) -> Result<BTreeSet<String>, Rejection> {
        let mut exclusive = BTreeSet::new();
        for volume in pod.spec().volumes.iter().flatten() {
            let Some(source) = &volume.persistent_volume_claim else {
                continue;
            };
            let name = &source.claim_name;
            let Some(claim) = self.listers.claims.get(&pod.namespace, name) else {
                let reason = format!("persistentvolumeclaim {name:?} not found");
                return Err(Rejection::new(false, [reason]));
            };
            let modes = claim.spec.as_ref().and_then(|s| s.access_modes.as_ref());
            if modes.is_some_and(|modes| modes.iter().any(|mode| mode == "ReadWriteOncePod")) {
                exclusive.insert(name.clone());
            }
        }
        Ok(exclusive)
    }
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }
    fn events(&self) -> &'static [EventKind] {
        &[
            EventKind::AssignedPodRemoved,
            EventKind::NodeAdded,
            EventKind::PersistentVolumeClaim,
        ]
    }
    fn may_help(&self, event: &ClusterEvent, pod: &PodInfo) -> bool {
        match event {
            ClusterEvent::AssignedPodRemoved(gone) => {
                shares_disk(pod, gone)
                    || (gone.namespace == pod.namespace
                        && pod
                            .claim_names()
                            .any(|own| gone.claim_names().any(|c| c == own)))
            }
            ClusterEvent::Object(_, key) => pod.has_claim(key),
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

impl PreFilter for VolumeRestrictions {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> Result<PreFilterResult, Rejection> {
        let claims = self.exclusive_claims(pod)?;
        let mut disks = pod.spec().volumes.iter().flatten().filter_map(disk);
        if claims.is_empty() && disks.next().is_none() {
            return Ok(PreFilterResult::Skip);
        }
        let in_use = |name: &&String| nodes.users_of_claim(&pod.namespace, name) > 0;
        let users = claims.iter().filter(in_use).count();
        state.write(self.name(), Exclusive { claims, users });
        Ok(PreFilterResult::AllNodes)
    }

    fn add_pod(&self, state: &mut CycleState, pod: &PodInfo, other: &PodInfo, _: &NodeInfo) {
        if let Some(exclusive) = state.edit::<Exclusive>(self.name()) {
            exclusive.users += shared(exclusive, pod, other);
        }
    }

    fn remove_pod(&self, state: &mut CycleState, pod: &PodInfo, other: &PodInfo, _: &NodeInfo) {
        if let Some(exclusive) = state.edit::<Exclusive>(self.name()) {
            exclusive.users -= shared(exclusive, pod, other).min(exclusive.users);
        }
    }
}

/// How many of the exclusive claims the other pod uses.
fn shared(exclusive: &Exclusive, pod: &PodInfo, other: &PodInfo) -> usize {
    if other.namespace != pod.namespace {
        return 0;
    }
    let used = |claim: &std::borrow::Cow<'_, str>| exclusive.claims.contains(claim.as_ref());
    other.claim_names().filter(used).count()
}

impl Filter for VolumeRestrictions {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if node.pods.values().any(|other| shares_disk(pod, other)) {
            return Verdict::unschedulable(["node(s) had no available disk"]);
        }
        match state.read::<Exclusive>(self.name()) {
            Some(exclusive) if exclusive.users > 0 => Verdict::unschedulable([IN_USE]),
            _ => Verdict::Success,
        }
    }
}

/// A disk that is attached to one node at a time, and whether it is only read.
fn disk(volume: &Volume) -> Option<(Vec<String>, bool)> {
    if let Some(disk) = &volume.gce_persistent_disk {
        let id = vec!["gce".to_owned(), disk.pd_name.clone()];
        return Some((id, disk.read_only.unwrap_or(false)));
    }
    if let Some(disk) = &volume.aws_elastic_block_store {
        // Even read-only it can be on one node alone.
        return Some((vec!["aws".to_owned(), disk.volume_id.clone()], false));
    }
    if let Some(disk) = &volume.iscsi {
        // The same target by another way is the same disk.
        let id = vec!["iscsi".to_owned(), disk.iqn.clone()];
        return Some((id, disk.read_only.unwrap_or(false)));
    }
    let disk = volume.rbd.as_ref()?;
    let pool = disk.pool.clone().unwrap_or_else(|| "rbd".to_owned());
    let mut monitors = disk.monitors.clone();
    monitors.sort();
    let mut id = vec!["rbd".to_owned(), pool, disk.image.clone()];
    id.extend(monitors);
    Some((id, disk.read_only.unwrap_or(false)))
}

/// Whether two pods want a disk of which only one of them can have it; two that only read do not mind each other.
fn shares_disk(a: &PodInfo, b: &PodInfo) -> bool {
    let disks = |pod: &PodInfo| -> Vec<(Vec<String>, bool)> {
        let volumes = pod.spec().volumes.iter().flatten();
        volumes.filter_map(disk).collect()
    };
    let own = disks(a);
    if own.is_empty() {
        return false;
    }
    let others = disks(b);
    own.iter().any(|(id, read_only)| {
        let clashes = |other: &&(Vec<String>, bool)| other.0 == *id && !(*read_only && other.1);
        others.iter().find(clashes).is_some()
    })
}
