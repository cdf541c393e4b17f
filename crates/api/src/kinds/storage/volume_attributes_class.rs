//! `storage.k8s.io/v1` VolumeAttributesClass: parameters of volumes that may change in life.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same_field},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::pod_spec::volumes,
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
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let name = object.text("driverName");
        if name.is_empty() {
            errors.push(FieldError::required(&Path::new("driverName"), ""));
        } else {
            volumes::csi_driver_name(&mut errors, &Path::new("driverName"), name);
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors =
            crate::meta::validate_immutable_field(new, old, "driverName", &Path::default());
        if !same_field(new, old, "parameters") {
            errors.push(FieldError::forbidden(
                &Path::new("parameters"),
                "updates to parameters are forbidden.",
            ));
        }
        errors
    }
}
