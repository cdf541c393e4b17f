//! `resource.k8s.io/v1` ResourceClaimTemplate: claims made for each pod.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::resource::resource_claim::{default_claim_spec, validate_claim_spec},
    meta::{IMMUTABLE, validate_annotations, validate_labels},
    validate::invalid_shown,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "resourceclaimtemplates"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "ResourceClaimTemplate"),
    singular: "resourceclaimtemplate",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("resourceclaimtemplates")),
    strategy: &ResourceClaimTemplateStrategy,
};

#[derive(Debug)]
struct ResourceClaimTemplateStrategy;

impl Strategy for ResourceClaimTemplateStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.ensure_object("metadata");
        default_claim_spec(spec.ensure_object("spec"));
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        let metadata = spec.object("metadata").unwrap_or(&empty);
        template_metadata(&mut errors, &path.child("metadata"), metadata);
        let claim = spec.object("spec").unwrap_or(&empty);
        validate_claim_spec(&mut errors, &path.child("spec"), claim);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_renewed(new, old, &RESOURCE);
        if !internal::same_field_of_kind(new, old, "spec") {
            let ty = "io.k8s.api.resource.v1.ResourceClaimTemplateSpec";
            let shown = internal::shown(ty, new.get("spec"));
            errors.push(invalid_shown(&Path::new("spec"), &shown, IMMUTABLE));
        }
        errors
    }
}

/// Claims get labels and annotations from their template, and nothing else.
fn template_metadata(errors: &mut ErrorList, path: &Path, metadata: &Object) {
    // In the order of the struct, with the names that upstream makes of Go's.
    const NOT_ALLOWED: [(&str, &str); 13] = [
        ("name", "name"),
        ("generateName", "generateName"),
        ("namespace", "namespace"),
        ("selfLink", "selfLink"),
        ("uid", "uID"),
        ("resourceVersion", "resourceVersion"),
        ("generation", "generation"),
        ("creationTimestamp", "creationTimestamp"),
        ("deletionTimestamp", "deletionTimestamp"),
        ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
        ("ownerReferences", "ownerReferences"),
        ("finalizers", "finalizers"),
        ("managedFields", "managedFields"),
    ];
    errors.extend(validate_annotations(
        metadata.object("annotations"),
        &path.child("annotations"),
    ));
    errors.extend(validate_labels(
        metadata.object("labels"),
        &path.child("labels"),
    ));
    for (field, shown) in NOT_ALLOWED {
        if metadata.has(field) {
            errors.push(FieldError::forbidden(&path.child(shown), "cannot be set"));
        }
    }
}
