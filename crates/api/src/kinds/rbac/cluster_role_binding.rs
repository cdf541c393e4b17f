//! `rbac.authorization.k8s.io/v1` ClusterRoleBinding: who has a role everywhere.

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::rbac::role_binding,
    names,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "clusterrolebindings"),
    gvk: GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding"),
    singular: "clusterrolebinding",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("clusterrolebindings")),
    strategy: &ClusterRoleBindingStrategy,
};

#[derive(Debug)]
struct ClusterRoleBindingStrategy;

impl Strategy for ClusterRoleBindingStrategy {
    fn default(&self, object: &mut Object) {
        role_binding::default_binding(object);
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
        role_binding::validate_binding(&mut errors, object, false);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_renewed(new, old, &RESOURCE);
        errors.extend(role_binding::immutable_role(new, old));
        errors
    }
}
