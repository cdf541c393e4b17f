//! `apps/v1` DaemonSet.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "daemonsets"),
    gvk: GroupVersionKind::new("apps", "v1", "DaemonSet"),
    singular: "daemonset",
    scope: Scope::Namespaced,
    short_names: &["ds"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apps",
        "v1",
        "DaemonSet",
    ))],
    storage: Some(Storage::plain("daemonsets")),
    strategy: &DaemonSetStrategy,
};

#[derive(Debug)]
struct DaemonSetStrategy;

impl Strategy for DaemonSetStrategy {}
