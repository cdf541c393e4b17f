//! `v1` ServiceAccount: who a pod is.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "serviceaccounts"),
    gvk: GroupVersionKind::new("", "v1", "ServiceAccount"),
    singular: "serviceaccount",
    scope: Scope::Namespaced,
    short_names: &["sa"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource {
        name: "token",
        gvk: GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest"),
        verbs: verbs::CREATE,
    }],
    storage: Some(Storage::plain("serviceaccounts")),
    strategy: &ServiceAccountStrategy,
};

#[derive(Debug)]
struct ServiceAccountStrategy;

impl Strategy for ServiceAccountStrategy {}
