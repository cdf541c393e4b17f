//! `resource.k8s.io/v1` ResourceClaim.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "resourceclaims"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "ResourceClaim"),
    singular: "resourceclaim",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "resource.k8s.io",
        "v1",
        "ResourceClaim",
    ))],
    storage: Some(Storage::plain("resourceclaims")),
    strategy: &ResourceClaimStrategy,
};

#[derive(Debug)]
struct ResourceClaimStrategy;

impl Strategy for ResourceClaimStrategy {}
