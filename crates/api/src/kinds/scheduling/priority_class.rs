//! `scheduling.k8s.io/v1` PriorityClass.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("scheduling.k8s.io", "v1", "priorityclasses"),
    gvk: GroupVersionKind::new("scheduling.k8s.io", "v1", "PriorityClass"),
    singular: "priorityclass",
    scope: Scope::Cluster,
    short_names: &["pc"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("priorityclasses")),
    strategy: &PriorityClassStrategy,
};

#[derive(Debug)]
struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {}
