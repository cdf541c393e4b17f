//! `networking.k8s.io/v1` Ingress.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ingresses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "Ingress"),
    singular: "ingress",
    scope: Scope::Namespaced,
    short_names: &["ing"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "networking.k8s.io",
        "v1",
        "Ingress",
    ))],
    storage: Some(Storage::plain("ingress")),
    strategy: &IngressStrategy,
};

#[derive(Debug)]
struct IngressStrategy;

impl Strategy for IngressStrategy {}
