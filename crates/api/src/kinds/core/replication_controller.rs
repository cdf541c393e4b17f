//! `v1` ReplicationController.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "replicationcontrollers"),
    gvk: GroupVersionKind::new("", "v1", "ReplicationController"),
    singular: "replicationcontroller",
    scope: Scope::Namespaced,
    short_names: &["rc"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("", "v1", "ReplicationController")),
    ],
    storage: Some(Storage::plain("controllers")),
    strategy: &ReplicationControllerStrategy,
};

#[derive(Debug)]
struct ReplicationControllerStrategy;

impl Strategy for ReplicationControllerStrategy {}
