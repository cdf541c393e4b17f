//! `storage.k8s.io/v1` VolumeAttributesClass: parameters of volumes that may change in life.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same_field},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::storage::storage_class,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "volumeattributesclasses"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "VolumeAttributesClass"),
    singular: "volumeattributesclass",
    scope: Scope::Cluster,
    short_names: &["vac"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("volumeattributesclasses")),
    strategy: &VolumeAttributesClassStrategy,
};

#[derive(Debug)]
struct VolumeAttributesClassStrategy;

impl Strategy for VolumeAttributesClassStrategy {
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        storage_class::provisioner(&mut errors, object, "driverName");
        storage_class::parameters(&mut errors, object);
        if object.object("parameters").is_none_or(Object::is_empty) {
            errors.push(FieldError::required(
                &Path::new("parameters"),
                "must contain at least one key/value pair",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_update(new, old);
        if !same_field(new, old, "driverName") {
            errors.push(FieldError::forbidden(
                &Path::new("driverName"),
                "updates to driverName are forbidden.",
            ));
        }
        if !same_field(new, old, "parameters") {
            errors.push(FieldError::forbidden(
                &Path::new("parameters"),
                "updates to parameters are forbidden.",
            ));
        }
        errors.extend(crate::meta::validate_new(new, &RESOURCE));
        errors.extend(self.validate(new));
        errors
    }
}
