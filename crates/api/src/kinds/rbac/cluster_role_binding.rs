//! `rbac.authorization.k8s.io/v1` ClusterRoleBinding.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

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

impl Strategy for ClusterRoleBindingStrategy {}
