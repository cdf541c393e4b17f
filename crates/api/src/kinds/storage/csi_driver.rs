//! `storage.k8s.io/v1` CSIDriver.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "csidrivers"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "CSIDriver"),
    singular: "csidriver",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("csidrivers")),
    strategy: &CsiDriverStrategy,
};

#[derive(Debug)]
struct CsiDriverStrategy;

impl Strategy for CsiDriverStrategy {}
