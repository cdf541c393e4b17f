//! `apps/v1` ControllerRevision: a state that a controller may go back to. Its data never changes.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    validate::non_negative,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "controllerrevisions"),
    gvk: GroupVersionKind::new("apps", "v1", "ControllerRevision"),
    singular: "controllerrevision",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("controllerrevisions")),
    strategy: &ControllerRevisionStrategy,
};

#[derive(Debug)]
struct ControllerRevisionStrategy;

impl Strategy for ControllerRevisionStrategy {
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        if !object.has("data") {
            errors.push(FieldError::required(
                &Path::new("data"),
                "data is mandatory",
            ));
        }
        non_negative(&mut errors, &Path::new("revision"), object.int("revision"));
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_immutable_field(new, old, "data", &Path::default());
        non_negative(&mut errors, &Path::new("revision"), new.int("revision"));
        errors
    }
}
