//! `rbac.authorization.k8s.io/v1` RoleBinding.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

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

impl Strategy for RoleBindingStrategy {}
