//! `apps/v1` ReplicaSet.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::defaults,
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "replicasets"),
    gvk: GroupVersionKind::new("apps", "v1", "ReplicaSet"),
    singular: "replicaset",
    scope: Scope::Namespaced,
    short_names: &["rs"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "ReplicaSet")),
    ],
    storage: Some(Storage::plain("replicasets")),
    strategy: &ReplicaSetStrategy,
};

#[derive(Debug)]
struct ReplicaSetStrategy;

impl Strategy for ReplicaSetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        spec.set_default("replicas", 1);
        lifecycle::zeroes(object.ensure_object("status"), &["replicas"]);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        lifecycle::zeroes(object.ensure_object("status"), &["replicas"]);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
}
