//! `rbac.authorization.k8s.io/v1` Role: what may be done in a namespace.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "roles"),
    gvk: GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "Role"),
    singular: "role",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("roles")),
    strategy: &RoleStrategy,
};

#[derive(Debug)]
struct RoleStrategy;

impl Strategy for RoleStrategy {
    fn default(&self, object: &mut Object) {
        object.set_default("rules", Value::Null);
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            names::path_segment_prefix(name)
        } else {
            names::path_segment_name(name)
        }
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        rules(&mut errors, object, true);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        crate::meta::validate_renewed(new, old, &RESOURCE)
    }
}

/// The rules of a Role or ClusterRole; those of a Role are about its namespace alone.
pub fn rules(errors: &mut ErrorList, object: &Object, namespaced: bool) {
    for (index, rule) in object.objects("rules") {
        let at = Path::new("rules").index(index);
        if rule.list("verbs").is_empty() {
            errors.push(FieldError::required(
                &at.child("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !rule.list("nonResourceURLs").is_empty() {
            let urls = at.child("nonResourceURLs");
            if namespaced {
                errors.push(FieldError::invalid(
                    &urls,
                    rule.list("nonResourceURLs").to_vec(),
                    "namespaced rules cannot apply to non-resource URLs",
                ));
            }
            let resources = ["apiGroups", "resources", "resourceNames"];
            if resources.iter().any(|f| !rule.list(f).is_empty()) {
                errors.push(FieldError::invalid(
                    &urls,
                    rule.list("nonResourceURLs").to_vec(),
                    "rules cannot apply to both regular resources and non-resource URLs",
                ));
            }
            continue;
        }
        if rule.list("apiGroups").is_empty() {
            errors.push(FieldError::required(
                &at.child("apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if rule.list("resources").is_empty() {
            errors.push(FieldError::required(
                &at.child("resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
}
