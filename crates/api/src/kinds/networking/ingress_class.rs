//! `networking.k8s.io/v1` IngressClass.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ingressclasses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "IngressClass"),
    singular: "ingressclass",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("ingressclasses")),
    strategy: &IngressClassStrategy,
};

#[derive(Debug)]
struct IngressClassStrategy;

impl Strategy for IngressClassStrategy {
    fn default(&self, object: &mut Object) {
        if let Some(parameters) = object.ensure_object("spec").object_mut("parameters") {
            parameters.set_default("scope", "Cluster");
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }
}
