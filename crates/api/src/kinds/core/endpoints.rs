//! `v1` Endpoints.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "endpoints"),
    gvk: GroupVersionKind::new("", "v1", "Endpoints"),
    singular: "endpoints",
    scope: Scope::Namespaced,
    short_names: &["ep"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("services/endpoints")),
    strategy: &EndpointsStrategy,
};

#[derive(Debug)]
struct EndpointsStrategy;

impl Strategy for EndpointsStrategy {
    fn default(&self, object: &mut Object) {
        object.each_object("subsets", |subset| {
            subset.each_object("ports", |port| port.set_default_zero("protocol", "TCP"));
        });
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
}
