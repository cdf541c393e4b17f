//! `storage.k8s.io/v1` CSIStorageCapacity: how much a driver has left in a part of the cluster.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, quantity},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::pod_spec::resources,
    names,
    validate::{selectors, text},
};

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

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        if let Some(topology) = object.object("nodeTopology") {
            selectors::label_selector(&mut errors, &Path::new("nodeTopology"), topology);
        }
        let class = object.text("storageClassName");
        text(
            &mut errors,
            &Path::new("storageClassName"),
            class,
            names::dns1123_subdomain(class),
        );
        if let Some(value) = object.value("capacity")
            && quantity(value).is_some_and(|q| q.sign() < 0)
        {
            errors.push(FieldError::invalid(
                &Path::new("capacity"),
                resources::shown(value),
                "must be greater than or equal to 0",
            ));
        }
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_renewed(new, old, &RESOURCE);
        for field in ["nodeTopology", "storageClassName"] {
            errors.extend(crate::meta::immutable_field(
                "io.k8s.api.storage.v1.CSIStorageCapacity",
                new,
                old,
                field,
                &Path::default(),
            ));
        }
        errors
    }
}
