//! `v1` Namespace.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "namespaces"),
    gvk: GroupVersionKind::new("", "v1", "Namespace"),
    singular: "namespace",
    scope: Scope::Cluster,
    short_names: &["ns"],
    categories: &[],
    verbs: &[
        "create", "delete", "get", "list", "patch", "update", "watch",
    ],
    subresources: &[
        Subresource {
            name: "finalize",
            gvk: GroupVersionKind::new("", "v1", "Namespace"),
            verbs: &["update"],
        },
        Subresource::status(GroupVersionKind::new("", "v1", "Namespace")),
    ],
    storage: Some(Storage::plain("namespaces")),
    strategy: &NamespaceStrategy,
};

#[derive(Debug)]
struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {}
