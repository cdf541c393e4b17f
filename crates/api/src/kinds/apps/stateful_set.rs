//! `apps/v1` StatefulSet.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "statefulsets"),
    gvk: GroupVersionKind::new("apps", "v1", "StatefulSet"),
    singular: "statefulset",
    scope: Scope::Namespaced,
    short_names: &["sts"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "StatefulSet")),
    ],
    storage: Some(Storage::plain("statefulsets")),
    strategy: &StatefulSetStrategy,
};

#[derive(Debug)]
struct StatefulSetStrategy;

impl Strategy for StatefulSetStrategy {}
