//! `v1` PersistentVolumeClaim.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "persistentvolumeclaims"),
    gvk: GroupVersionKind::new("", "v1", "PersistentVolumeClaim"),
    singular: "persistentvolumeclaim",
    scope: Scope::Namespaced,
    short_names: &["pvc"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "",
        "v1",
        "PersistentVolumeClaim",
    ))],
    storage: Some(Storage::plain("persistentvolumeclaims")),
    strategy: &PersistentVolumeClaimStrategy,
};

#[derive(Debug)]
struct PersistentVolumeClaimStrategy;

impl Strategy for PersistentVolumeClaimStrategy {}
