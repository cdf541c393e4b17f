//! From a pod's volume to the PersistentVolume that it claims.
//!
//! A claim is read once for a pod and remembered until the pod is gone, as upstream does: a container can be restarted while the API
//! server is away, and a claim that is being deleted does not take its volume from the pods that have it.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use client::{Client, Kind};
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod, Volume,
};

use super::{local, uses};
use crate::{
    paths::Paths,
    pod::{name, namespace, uid},
};

/// Holds a claim back while pods use it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";
const READ_WRITE_ONCE_POD: &str = "ReadWriteOncePod";

/// What a volume of a pod is bound to.
#[derive(Clone, Debug)]
pub(in super::super) struct ClaimedVolume {
    /// The volume.
    pub(super) volume: Arc<PersistentVolume>,
    /// The pod wants it read-only.
    pub(super) read_only: bool,
}

impl ClaimedVolume {
    pub(super) fn name(&self) -> &str {
        self.volume.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn spec(&self) -> &PersistentVolumeSpec {
        static NONE: std::sync::LazyLock<PersistentVolumeSpec> =
            std::sync::LazyLock::new(PersistentVolumeSpec::default);
        self.volume.spec.as_ref().unwrap_or(&NONE)
    }

    pub(super) fn is_block(&self) -> bool {
        self.spec().volume_mode.as_deref() == Some("Block")
    }

    fn is_for_one_pod(&self) -> bool {
        let modes = self.spec().access_modes.as_deref().unwrap_or_default();
        matches!(modes, [only] if only == READ_WRITE_ONCE_POD)
    }
}

/// A claimed volume that is a mount of its own on this node, and so has a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedDisk {
    /// The pod that has it.
    pub pod_uid: String,
    /// The volume's name in the pod.
    pub volume: String,
    /// The claim's namespace.
    pub namespace: String,
    /// The claim's name.
    pub claim: String,
    /// Where it is mounted.
    pub path: PathBuf,
}

/// What is remembered of one volume of one pod.
struct Entry {
    /// The claim's namespace and name.
    claim: (String, String),
    claimed: ClaimedVolume,
    /// It was made, or is being made.
    taken: bool,
}

/// The claims of this node's pods. Bounded by the pods of the node and their volumes.
pub struct ClaimManager {
    client: Option<Client>,
    pods: Mutex<HashMap<String, HashMap<String, Entry>>>,
}

/// The claim that a volume of a pod names, or that was made for it; none for other volumes.
pub(in super::super) fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{}-{}", name(pod), volume.name)),
        (None, None) => None,
    }
}

impl ClaimManager {
    /// Reads from this server.
    pub fn new(client: Option<Client>) -> Self {
        Self {
            client,
            pods: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Entry>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a pod's volume is bound to; the error is a message.
    pub(in super::super) async fn resolve(
        &self,
        pod: &Pod,
        volume: &Volume,
        claim_name: &str,
    ) -> Result<ClaimedVolume, String> {
        let known = |pods: &HashMap<String, HashMap<String, Entry>>| {
            let entry = pods.get(uid(pod))?.get(&volume.name)?;
            Some(entry.claimed.clone())
        };
        if let Some(claimed) = known(&self.lock()) {
            return Ok(claimed);
        }
        let processing = |why: String| {
            format!(
                "error processing PVC {}/{claim_name}: {why}",
                namespace(pod)
            )
        };
        let claim: PersistentVolumeClaim = self
            .read(namespace(pod), claim_name)
            .await
            .map_err(|error| processing(format!("failed to fetch PVC from API server: {error}")))?;
        let volume_name = bound_to(&claim).map_err(|why| processing(why.to_owned()))?;
        if volume.persistent_volume_claim.is_none() && !is_for_pod(&claim, pod) {
            return Err(format!(
                "PVC {}/{claim_name} was not created for pod {}/{} (pod is not owner)",
                namespace(pod),
                namespace(pod),
                name(pod),
            ));
        }
        let persistent: PersistentVolume = self.read("", volume_name).await.map_err(|error| {
            processing(format!(
                "failed to fetch PV {volume_name} from API server: {error}"
            ))
        })?;
        is_claimed_by(&persistent, &claim).map_err(processing)?;
        mode_fits(pod, volume, &persistent)?;
        let source = volume.persistent_volume_claim.as_ref();
        let claimed = ClaimedVolume {
            volume: Arc::new(persistent),
            read_only: source.is_some_and(|source| source.read_only == Some(true)),
        };
        let entry = Entry {
            claim: (namespace(pod).to_owned(), claim_name.to_owned()),
            claimed: claimed.clone(),
            taken: false,
        };
        let mut pods = self.lock();
        let volumes = pods.entry(uid(pod).to_owned()).or_default();
        volumes.insert(volume.name.clone(), entry);
        Ok(claimed)
    }

    async fn read<K: Kind>(&self, namespace: &str, name: &str) -> Result<K, String> {
        let Some(client) = &self.client else {
            return Err("the kubelet has no API server".to_owned());
        };
        let read = client.api::<K>(namespace).get(name).await;
        read.map_err(|error| error.to_string())
    }

    /// Says that a pod's volume is made now. Not if it is for one pod alone and another one has it.
    pub(super) fn take(&self, pod_uid: &str, volume: &str, claimed: &ClaimedVolume) -> bool {
        let mut pods = self.lock();
        let others = pods.iter().filter(|(uid, _)| *uid != pod_uid);
        let elsewhere = || {
            others
                .flat_map(|(_, volumes)| volumes.values())
                .any(|entry| entry.taken && entry.claimed.name() == claimed.name())
        };
        if claimed.is_for_one_pod() && elsewhere() {
            return false;
        }
        if let Some(entry) = pods.get_mut(pod_uid).and_then(|pod| pod.get_mut(volume)) {
            entry.taken = true;
        }
        true
    }

    /// The disks that pods have now.
    pub fn disks(&self, paths: &Paths) -> Vec<ClaimedDisk> {
        let pods = self.lock();
        let entries = pods
            .iter()
            .flat_map(|(uid, volumes)| volumes.iter().map(move |(name, entry)| (uid, name, entry)));
        let disk = |(uid, name, entry): (&String, &String, &Entry)| {
            let claimed = &entry.claimed;
            let is_disk = entry.taken && claimed.spec().local.is_some() && !claimed.is_block();
            is_disk.then(|| ClaimedDisk {
                pod_uid: uid.clone(),
                volume: name.clone(),
                namespace: entry.claim.0.clone(),
                claim: entry.claim.1.clone(),
                path: local::mounted_at(paths, uid, claimed.name()),
            })
        };
        entries.filter_map(disk).collect()
    }

    /// Forgets a pod whose volumes are gone.
    pub fn forget(&self, pod_uid: &str) {
        self.lock().remove(pod_uid);
    }
}

/// The volume that a claim is bound to, if pods may have it.
fn bound_to(claim: &PersistentVolumeClaim) -> Result<&str, &'static str> {
    let finalizers = claim.metadata.finalizers.as_deref().unwrap_or_default();
    let protected = finalizers.iter().any(|finalizer| finalizer == PROTECTION);
    if claim.metadata.deletion_timestamp.is_some() && !protected {
        return Err("PVC is being deleted");
    }
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    if phase != Some("Bound") {
        return Err("PVC is not bound");
    }
    let volume = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.as_deref());
    volume
        .filter(|name| !name.is_empty())
        .ok_or("PVC has empty pvc.Spec.VolumeName")
}

fn is_for_pod(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    let mut controllers = owners.filter(|owner| owner.controller == Some(true));
    controllers.any(|owner| owner.uid == uid(pod))
}

fn is_claimed_by(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    let Some(reference) = reference else {
        return Err(format!(
            "found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        ));
    };
    let (wanted, has) = (claim.metadata.uid.as_deref(), reference.uid.as_deref());
    if wanted != has {
        return Err(format!(
            "found PV object {name} but its pv.Spec.ClaimRef.UID {} does not point to claim.UID {}",
            has.unwrap_or_default(),
            wanted.unwrap_or_default(),
        ));
    }
    Ok(())
}

/// Directories are mounted, devices are given.
fn mode_fits(pod: &Pod, volume: &Volume, persistent: &PersistentVolume) -> Result<(), String> {
    let mode = persistent
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_mode.as_deref())
        .unwrap_or("Filesystem");
    let (mounted, given) = uses(pod, &volume.name);
    let wrong = |place: &str| {
        Err(format!(
            "volume {} has volumeMode {mode}, but is specified in {place}",
            volume.name
        ))
    };
    if mounted && mode != "Filesystem" {
        return wrong("volumeMounts");
    }
    if given && mode != "Block" {
        return wrong("volumeDevices");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn claim(spec: Value, phase: &str, metadata: Value) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": metadata, "spec": spec, "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_bound_claim_that_stays_is_used() {
        let deleted = "2026-01-01T00:00:00Z";
        for (spec, phase, metadata, expected) in [
            (json!({"volumeName": "v"}), "Bound", json!({}), Ok("v")),
            (
                json!({"volumeName": "v"}),
                "Pending",
                json!({}),
                Err("PVC is not bound"),
            ),
            (
                json!({"volumeName": "v"}),
                "Lost",
                json!({}),
                Err("PVC is not bound"),
            ),
            (
                json!({}),
                "Bound",
                json!({}),
                Err("PVC has empty pvc.Spec.VolumeName"),
            ),
            (
                json!({"volumeName": "v"}),
                "Bound",
                json!({"deletionTimestamp": deleted}),
                Err("PVC is being deleted"),
            ),
            (
                json!({"volumeName": "v"}),
                "Bound",
                json!({"deletionTimestamp": deleted, "finalizers": [PROTECTION]}),
                Ok("v"),
            ),
        ] {
            let claim = claim(spec, phase, metadata);
            assert_eq!(bound_to(&claim), expected, "{claim:?}");
        }
    }

    #[test]
    fn a_volume_must_know_its_claim() {
        let claim = claim(json!({}), "Bound", json!({"uid": "one"}));
        let volume = |reference: Value| -> PersistentVolume {
            serde_json::from_value(
                json!({"metadata": {"name": "v"}, "spec": {"claimRef": reference}}),
            )
            .unwrap()
        };
        assert_eq!(
            is_claimed_by(&volume(json!({"uid": "one"})), &claim),
            Ok(())
        );
        let of_another = is_claimed_by(&volume(json!({"uid": "two"})), &claim).unwrap_err();
        assert!(of_another.contains("UID two does not point to claim.UID one"));
        let of_none = is_claimed_by(&volume(Value::Null), &claim).unwrap_err();
        assert!(of_none.contains("not yet bound"));
    }

    #[test]
    fn a_volume_for_one_pod_is_refused_to_the_second() {
        let claimed = |mode: &str| ClaimedVolume {
            volume: Arc::new(
                serde_json::from_value(json!({
                    "metadata": {"name": mode}, "spec": {"accessModes": [mode]},
                }))
                .unwrap(),
            ),
            read_only: false,
        };
        let manager = ClaimManager::new(None);
        for (mode, second) in [(READ_WRITE_ONCE_POD, false), ("ReadWriteOnce", true)] {
            for pod in ["a", "b"] {
                let entry = Entry {
                    claim: ("ns".to_owned(), "claim".to_owned()),
                    claimed: claimed(mode),
                    taken: false,
                };
                let mut pods = manager.lock();
                pods.entry(pod.to_owned())
                    .or_default()
                    .insert("v".to_owned(), entry);
            }
            assert!(manager.take("a", "v", &claimed(mode)));
            assert!(
                manager.take("a", "v", &claimed(mode)),
                "once more is the same"
            );
            assert_eq!(manager.take("b", "v", &claimed(mode)), second, "{mode}");
            manager.forget("a");
            assert!(manager.take("b", "v", &claimed(mode)));
            manager.forget("b");
        }
    }
}
