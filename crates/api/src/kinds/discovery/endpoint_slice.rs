//! `discovery.k8s.io/v1` EndpointSlice.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("discovery.k8s.io", "v1", "endpointslices"),
    gvk: GroupVersionKind::new("discovery.k8s.io", "v1", "EndpointSlice"),
    singular: "endpointslice",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("endpointslices")),
    strategy: &EndpointSliceStrategy,
};

#[derive(Debug)]
struct EndpointSliceStrategy;

impl Strategy for EndpointSliceStrategy {
    fn default(&self, object: &mut Object) {
        object.each_object("endpoints", |endpoint| {
            endpoint.ensure_object("conditions");
        });
        object.each_object("ports", |port| {
            port.set_default("name", "");
            port.set_default_zero("protocol", "TCP");
        });
        object.set_default("endpoints", Value::Null);
        object.set_default("ports", Value::Null);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["endpoints", "ports", "addressType"]);
        if meta::labels(new) != meta::labels(old) && meta::generation(new) == meta::generation(old)
        {
            meta::set_generation(new, meta::generation(old) + 1);
        }
    }
}
