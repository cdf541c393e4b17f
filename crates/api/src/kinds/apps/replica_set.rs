//! `apps/v1` ReplicaSet.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "replicasets"),
    gvk: GroupVersionKind::new("apps", "v1", "ReplicaSet"),
    singular: "replicaset",
    scope: Scope::Namespaced,
    short_names: &["rs"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "ReplicaSet")),
    ],
    storage: Some(Storage::plain("replicasets")),
    strategy: &ReplicaSetStrategy,
};

#[derive(Debug)]
struct ReplicaSetStrategy;

impl Strategy for ReplicaSetStrategy {}
