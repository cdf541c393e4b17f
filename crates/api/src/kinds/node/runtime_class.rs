//! `node.k8s.io/v1` RuntimeClass.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("node.k8s.io", "v1", "runtimeclasses"),
    gvk: GroupVersionKind::new("node.k8s.io", "v1", "RuntimeClass"),
    singular: "runtimeclass",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("runtimeclasses")),
    strategy: &RuntimeClassStrategy,
};

#[derive(Debug)]
struct RuntimeClassStrategy;

impl Strategy for RuntimeClassStrategy {
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
