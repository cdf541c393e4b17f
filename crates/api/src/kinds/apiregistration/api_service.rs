//! `apiregistration.k8s.io/v1` APIService.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apiregistration.k8s.io", "v1", "apiservices"),
    gvk: GroupVersionKind::new("apiregistration.k8s.io", "v1", "APIService"),
    singular: "apiservice",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
    ))],
    storage: Some(Storage::plain("apiregistration.k8s.io/apiservices")),
    strategy: &ApiServiceStrategy,
};

#[derive(Debug)]
struct ApiServiceStrategy;

impl Strategy for ApiServiceStrategy {}
