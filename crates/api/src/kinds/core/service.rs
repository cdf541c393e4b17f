//! `v1` Service.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "services"),
    gvk: GroupVersionKind::new("", "v1", "Service"),
    singular: "service",
    scope: Scope::Namespaced,
    short_names: &["svc"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource {
            name: "proxy",
            gvk: GroupVersionKind::new("", "v1", "ServiceProxyOptions"),
            verbs: verbs::PROXY,
        },
        Subresource::status(GroupVersionKind::new("", "v1", "Service")),
    ],
    storage: Some(Storage::plain("services/specs")),
    strategy: &ServiceStrategy,
};

#[derive(Debug)]
struct ServiceStrategy;

impl Strategy for ServiceStrategy {}
