//! `storage.k8s.io/v1` StorageClass: how storage is made. Only labels and a few flags may change.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same_field},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
    validate::{one_of, text},
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let provisioner = object.text("provisioner");
        let at = Path::new("provisioner");
        if provisioner.is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        let lower = provisioner.to_lowercase();
        if !lower.is_empty() {
            text(&mut errors, &at, provisioner, names::qualified_name(&lower));
        }
        one_of(
            &mut errors,
            &Path::new("reclaimPolicy"),
            object.text("reclaimPolicy"),
            &["Delete", "Retain"],
        );
        match object.text("volumeBindingMode") {
            "" => errors.push(FieldError::required(&Path::new("volumeBindingMode"), "")),
            mode => one_of(
                &mut errors,
                &Path::new("volumeBindingMode"),
                mode,
                &["Immediate", "WaitForFirstConsumer"],
            ),
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        if !same_field(new, old, "parameters") {
            errors.push(FieldError::forbidden(
                &Path::new("parameters"),
                "updates to parameters are forbidden.",
            ));
        }
        if !same_field(new, old, "provisioner") {
            errors.push(FieldError::forbidden(
                &Path::new("provisioner"),
                "updates to provisioner are forbidden.",
            ));
        }
        for field in ["reclaimPolicy", "volumeBindingMode"] {
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
