//! `rbac.authorization.k8s.io/v1` Role.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

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

impl Strategy for RoleStrategy {}
