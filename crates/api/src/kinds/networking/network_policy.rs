//! `networking.k8s.io/v1` NetworkPolicy.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "networkpolicies"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "NetworkPolicy"),
    singular: "networkpolicy",
    scope: Scope::Namespaced,
    short_names: &["netpol"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("networkpolicies")),
    strategy: &NetworkPolicyStrategy,
};

#[derive(Debug)]
struct NetworkPolicyStrategy;

impl Strategy for NetworkPolicyStrategy {}
