//! `networking.k8s.io/v1` ServiceCIDR.

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
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "servicecidrs"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "ServiceCIDR"),
    singular: "servicecidr",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "networking.k8s.io",
        "v1",
        "ServiceCIDR",
    ))],
    storage: Some(Storage::plain("servicecidrs")),
    strategy: &ServiceCidrStrategy,
};

#[derive(Debug)]
struct ServiceCidrStrategy;

impl Strategy for ServiceCidrStrategy {
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
