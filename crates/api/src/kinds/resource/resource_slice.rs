//! `resource.k8s.io/v1` ResourceSlice.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "resourceslices"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "ResourceSlice"),
    singular: "resourceslice",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("resourceslices")),
    strategy: &ResourceSliceStrategy,
};

#[derive(Debug)]
struct ResourceSliceStrategy;

impl Strategy for ResourceSliceStrategy {
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }
}
