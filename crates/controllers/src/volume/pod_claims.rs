//! Which claims a pod uses: those that it names, and those made for its ephemeral volumes (`<pod>-<volume>`, owned by the pod).

use client::{Object as _, ObjectKey};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Volume};

/// The name of the [`by_claim`] index.
pub(super) const CLAIM_INDEX: &str = "claim";

/// The volumes of a pod.
pub(super) fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    pod.spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
}

/// The name of the claim of an ephemeral volume.
pub(super) fn ephemeral_claim_name(pod: &Pod, volume: &Volume) -> String {
    format!("{}-{}", pod.name(), volume.name)
}

/// Whether a claim was made for an ephemeral volume of this pod.
pub(super) fn is_for_pod(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    claim.namespace() == pod.namespace()
        && claim
            .controller_ref()
            .is_some_and(|owner| owner.uid == pod.uid())
}

/// The claims that a pod may use, by their names.
pub(super) fn keys(pod: &Pod) -> impl Iterator<Item = ObjectKey> {
    volumes(pod).filter_map(|volume| {
        let name = match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(source), _) => source.claim_name.clone(),
            (None, Some(_)) => ephemeral_claim_name(pod, volume),
            (None, None) => return None,
        };
        Some(ObjectKey::new(pod.namespace(), &name))
    })
}

/// An index of pods by the claims that they may use.
pub(super) fn by_claim(pod: &Pod) -> Vec<String> {
    keys(pod).map(|key| key.to_string()).collect()
}
