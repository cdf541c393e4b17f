//! `networking.k8s.io/v1` IPAddress.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ipaddresses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "IPAddress"),
    singular: "ipaddress",
    scope: Scope::Cluster,
    short_names: &["ip"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("ipaddresses")),
    strategy: &IpAddressStrategy,
};

#[derive(Debug)]
struct IpAddressStrategy;

impl Strategy for IpAddressStrategy {}
