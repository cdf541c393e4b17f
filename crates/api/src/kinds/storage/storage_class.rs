//! `storage.k8s.io/v1` StorageClass.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
};

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

impl Strategy for StorageClassStrategy {
    fn default(&self, object: &mut Object) {
        object.set_default("reclaimPolicy", "Delete");
        object.set_default("volumeBindingMode", "Immediate");
    }
}
