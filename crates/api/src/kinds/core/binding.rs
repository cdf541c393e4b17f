//! `v1` Binding: puts a pod on a node. Never stored: the registry applies it to the pod.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "bindings"),
    gvk: GroupVersionKind::new("", "v1", "Binding"),
    singular: "binding",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::CREATE,
    subresources: &[],
    storage: None,
    strategy: &BindingStrategy,
};

#[derive(Debug)]
struct BindingStrategy;

impl Strategy for BindingStrategy {}
