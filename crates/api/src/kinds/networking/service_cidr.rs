//! `networking.k8s.io/v1` ServiceCIDR.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "servicecidrs"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "ServiceCIDR"),
    singular: "servicecidr",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "networking.k8s.io",
        "v1",
        "ServiceCIDR",
    ))],
    storage: Some(Storage::plain("servicecidrs")),
    strategy: &ServiceCidrStrategy,
};

#[derive(Debug)]
struct ServiceCidrStrategy;

impl Strategy for ServiceCidrStrategy {}
