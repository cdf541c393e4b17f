//! `rbac.authorization.k8s.io/v1` RoleBinding.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "rolebindings"),
    gvk: GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "RoleBinding"),
    singular: "rolebinding",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("rolebindings")),
    strategy: &RoleBindingStrategy,
};

#[derive(Debug)]
struct RoleBindingStrategy;

impl Strategy for RoleBindingStrategy {
    fn default(&self, object: &mut Object) {
        default_binding(object);
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
}

/// The group of a subject follows from its kind, that of the role is RBAC's own. Also for ClusterRoleBindings.
pub fn default_binding(object: &mut Object) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    object
        .ensure_object("roleRef")
        .set_default_zero("apiGroup", GROUP);
    object.each_object("subjects", |subject| {
        if matches!(subject.text("kind"), "User" | "Group") {
            subject.set_default_zero("apiGroup", GROUP);
        }
    });
}
