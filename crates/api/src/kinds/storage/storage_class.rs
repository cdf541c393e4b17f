//! `storage.k8s.io/v1` StorageClass.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "storageclasses"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "StorageClass"),
    singular: "storageclass",
    scope: Scope::Cluster,
    short_names: &["sc"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("storageclasses")),
    strategy: &StorageClassStrategy,
};

#[derive(Debug)]
struct StorageClassStrategy;

impl Strategy for StorageClassStrategy {}
