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
        non_negative(&mut errors, &Path::new("revision"), object.int("revision"));
        let at = Path::new("data");
        match object.value("data") {
            None => errors.push(FieldError::required(&at, "data is mandatory")),
            Some(data) if !data.is_object() => {
                errors.push(FieldError::required(
                    &at,
                    "data must be a valid JSON object",
                ));
            }
            Some(_) => {}
        }
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        non_negative(&mut errors, &Path::new("revision"), new.int("revision"));
        errors.extend(crate::meta::validate_immutable_field(
            new,
            old,
            "data",
            &Path::default(),
        ));
        errors
    }
}
