//! `scheduling.k8s.io/v1` PriorityClass.

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
    gvr: GroupVersionResource::new("scheduling.k8s.io", "v1", "priorityclasses"),
    gvk: GroupVersionKind::new("scheduling.k8s.io", "v1", "PriorityClass"),
    singular: "priorityclass",
    scope: Scope::Cluster,
    short_names: &["pc"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("priorityclasses")),
    strategy: &PriorityClassStrategy,
};

#[derive(Debug)]
struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {
    fn default(&self, object: &mut Object) {
        object.set_default("preemptionPolicy", "PreemptLowerPriority");
        object.set_default("value", 0);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["value", "globalDefault", "preemptionPolicy"]);
    }
}
