//! Which volume a claim may have. Pure.

use std::{cmp::Ordering, sync::Arc};

use apimachinery::quantity::Quantity;
use client::{Object as _, selects};
use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::api::resource::Quantity as Written,
};

/// The annotation that named the class before there was a field.
const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

/// The class that a claim asks for; empty for none.
pub(super) fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    let field = || claim.spec.as_ref()?.storage_class_name.as_deref();
    let class = claim.annotation(CLASS_ANNOTATION).or_else(field);
    class.unwrap_or_default()
}

/// Whether a claim says which class it wants, be it none.
pub(super) fn has_class(claim: &PersistentVolumeClaim) -> bool {
    let spec = claim.spec.as_ref();
    claim.annotation(CLASS_ANNOTATION).is_some()
        || spec.is_some_and(|spec| spec.storage_class_name.is_some())
}

fn class_of_volume(volume: &PersistentVolume) -> &str {
    let field = || volume.spec.as_ref()?.storage_class_name.as_deref();
    let class = volume.annotation(CLASS_ANNOTATION).or_else(field);
    class.unwrap_or_default()
}

fn storage(quantities: Option<&std::collections::BTreeMap<String, Written>>) -> Quantity {
    let written = quantities.and_then(|quantities| quantities.get("storage"));
    let parsed = written.and_then(|quantity| quantity.0.parse().ok());
    parsed.unwrap_or_default()
}

fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    storage(resources.and_then(|resources| resources.requests.as_ref()))
}

fn capacity(volume: &PersistentVolume) -> Quantity {
    storage(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()))
}

/// Whether a claim and a volume want different modes (file system or block device).
pub(super) fn modes_differ(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let claim = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_mode.as_deref());
    let volume = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_mode.as_deref());
    claim.unwrap_or("Filesystem") != volume.unwrap_or("Filesystem")
}

fn attributes_differ(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let claim = claim.spec.as_ref();
    let claim = claim.and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let volume = volume.spec.as_ref();
    let volume = volume.and_then(|spec| spec.volume_attributes_class_name.as_deref());
    claim.unwrap_or_default() != volume.unwrap_or_default()
}

fn has_access_modes(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let wanted = claim
        .spec
        .iter()
        .flat_map(|spec| spec.access_modes.iter().flatten());
    let given = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.access_modes.as_deref());
    wanted
        .into_iter()
        .all(|mode| given.unwrap_or_default().contains(mode))
}

/// Whether a volume is bound to a claim, or reserved for it by name.
pub(super) fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let reference = volume
        .spec
        .as_ref()
        .and_then(|spec| spec.claim_ref.as_ref());
    reference.is_some_and(|reference| {
        let uid = reference.uid.as_deref().unwrap_or_default();
        reference.name.as_deref() == Some(claim.name())
            && reference.namespace.as_deref() == Some(claim.namespace())
            && (uid.is_empty() || uid == claim.uid())
    })
}

/// Why a volume that a claim names is none for it.
pub(super) fn check(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> Result<(), String> {
    let problem = if volume.is_being_deleted() {
        format!("the volume is marked for deletion {:?}", volume.name())
    } else if capacity(volume) < requested(claim) {
        "requested PV is too small".to_owned()
    } else if class_of_volume(volume) != class_of_claim(claim) {
        "storageClassName does not match".to_owned()
    } else if attributes_differ(claim, volume) {
        "volumeAttributesClassName does not match".to_owned()
    } else if modes_differ(claim, volume) {
        "incompatible volumeMode".to_owned()
    } else if !has_access_modes(claim, volume) {
        "incompatible accessMode".to_owned()
    } else {
        return Ok(());
    };
    Err(problem)
}

/// The best volume for a claim: one that is reserved for it; otherwise, unless the scheduler is to choose (`delayed`), of those that fit the
/// one with the fewest access modes, and of these the smallest.
pub(super) fn find<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    delayed: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let wanted = requested(claim);
    let fits = |volume: &&Arc<PersistentVolume>| {
        has_access_modes(claim, volume)
            && capacity(volume) >= wanted
            && !modes_differ(claim, volume)
            && !attributes_differ(claim, volume)
            && !volume.is_being_deleted()
    };
    let reserved = |volume: &&Arc<PersistentVolume>| fits(volume) && is_bound_to(volume, claim);
    if let Some(volume) = volumes.iter().find(reserved) {
        return Some(volume);
    }
    if delayed {
        return None;
    }
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let free = volumes.iter().filter(|volume| {
        let claimed = volume
            .spec
            .as_ref()
            .is_some_and(|spec| spec.claim_ref.is_some());
        let phase = volume
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref());
        !claimed
            && phase == Some("Available")
            && class_of_volume(volume) == class_of_claim(claim)
            && selector.is_none_or(|selector| selects(selector, volume.labels()))
    });
    let modes = |volume: &PersistentVolume| {
        let spec = volume.spec.as_ref();
        spec.and_then(|spec| spec.access_modes.as_ref())
            .map_or(0, Vec::len)
    };
    free.filter(fits).min_by(|a, b| {
        let sizes = || {
            capacity(a)
                .partial_cmp(&capacity(b))
                .unwrap_or(Ordering::Equal)
        };
        modes(a).cmp(&modes(b)).then_with(sizes)
    })
}
