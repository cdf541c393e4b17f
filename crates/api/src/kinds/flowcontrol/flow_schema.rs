//! `flowcontrol.apiserver.k8s.io/v1` FlowSchema.

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
    gvr: GroupVersionResource::new("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"),
    gvk: GroupVersionKind::new("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema"),
    singular: "flowschema",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "FlowSchema",
    ))],
    storage: Some(Storage::plain("flowschemas")),
    strategy: &FlowSchemaStrategy,
};

#[derive(Debug)]
struct FlowSchemaStrategy;

impl Strategy for FlowSchemaStrategy {
    fn default(&self, object: &mut Object) {
        object
            .ensure_object("spec")
            .set_default_zero("matchingPrecedence", 1000);
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
