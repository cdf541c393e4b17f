//! `v1` ResourceQuota.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

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

impl Strategy for ResourceQuotaStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
}
