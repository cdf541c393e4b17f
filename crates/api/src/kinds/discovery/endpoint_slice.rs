//! `discovery.k8s.io/v1` EndpointSlice.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

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

impl Strategy for EndpointSliceStrategy {}
