//! `v1` Endpoints.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

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

impl Strategy for EndpointsStrategy {}
