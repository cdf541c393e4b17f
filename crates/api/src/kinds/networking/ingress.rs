//! `networking.k8s.io/v1` Ingress.

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
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ingresses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "Ingress"),
    singular: "ingress",
    scope: Scope::Namespaced,
    short_names: &["ing"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "networking.k8s.io",
        "v1",
        "Ingress",
    ))],
    storage: Some(Storage::plain("ingress")),
    strategy: &IngressStrategy,
};

#[derive(Debug)]
struct IngressStrategy;

impl Strategy for IngressStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        object.ensure_object("status").ensure_object("loadBalancer");
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        object.ensure_object("status").ensure_object("loadBalancer");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
}
