//! `resource.k8s.io/v1` ResourceSlice.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

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

impl Strategy for ResourceSliceStrategy {}
