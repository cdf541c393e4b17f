//! `networking.k8s.io/v1` IngressClass.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ingressclasses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "IngressClass"),
    singular: "ingressclass",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("ingressclasses")),
    strategy: &IngressClassStrategy,
};

#[derive(Debug)]
struct IngressClassStrategy;

impl Strategy for IngressClassStrategy {}
