//! `rbac.authorization.k8s.io/v1` ClusterRole.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

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

impl Strategy for ClusterRoleStrategy {}
