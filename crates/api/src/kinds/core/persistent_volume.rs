//! `v1` PersistentVolume.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "persistentvolumes"),
    gvk: GroupVersionKind::new("", "v1", "PersistentVolume"),
    singular: "persistentvolume",
    scope: Scope::Cluster,
    short_names: &["pv"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "",
        "v1",
        "PersistentVolume",
    ))],
    storage: Some(Storage::plain("persistentvolumes")),
    strategy: &PersistentVolumeStrategy,
};

#[derive(Debug)]
struct PersistentVolumeStrategy;

impl Strategy for PersistentVolumeStrategy {}
