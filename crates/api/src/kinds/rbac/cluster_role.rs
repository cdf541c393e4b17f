//! `rbac.authorization.k8s.io/v1` ClusterRole: what may be done everywhere, and outside namespaces.

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::rbac::role,
    names,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "clusterroles"),
    gvk: GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    singular: "clusterrole",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("clusterroles")),
    strategy: &ClusterRoleStrategy,
};

#[derive(Debug)]
struct ClusterRoleStrategy;

impl Strategy for ClusterRoleStrategy {
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        role::rules(&mut errors, object, false);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}
