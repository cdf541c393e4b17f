//! `storage.k8s.io/v1` CSIStorageCapacity: how much a driver has left in a part of the cluster.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "csistoragecapacities"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "CSIStorageCapacity"),
    singular: "csistoragecapacity",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("csistoragecapacities")),
    strategy: &CsiStorageCapacityStrategy,
};

#[derive(Debug)]
struct CsiStorageCapacityStrategy;

impl Strategy for CsiStorageCapacityStrategy {
    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        for field in ["nodeTopology", "storageClassName"] {
            errors.extend(crate::meta::validate_immutable_field(
                new,
                old,
                field,
                &Path::default(),
            ));
        }
        errors
    }
}
