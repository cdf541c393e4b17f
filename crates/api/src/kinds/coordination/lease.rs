//! `coordination.k8s.io/v1` Lease.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("coordination.k8s.io", "v1", "leases"),
    gvk: GroupVersionKind::new("coordination.k8s.io", "v1", "Lease"),
    singular: "lease",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("leases")),
    strategy: &LeaseStrategy,
};

#[derive(Debug)]
struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    fn allow_unconditional_update(&self) -> bool {
        false
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
}
