//! `v1` ResourceQuota.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "resourcequotas"),
    gvk: GroupVersionKind::new("", "v1", "ResourceQuota"),
    singular: "resourcequota",
    scope: Scope::Namespaced,
    short_names: &["quota"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "",
        "v1",
        "ResourceQuota",
    ))],
    storage: Some(Storage::plain("resourcequotas")),
    strategy: &ResourceQuotaStrategy,
};

#[derive(Debug)]
struct ResourceQuotaStrategy;

impl Strategy for ResourceQuotaStrategy {}
