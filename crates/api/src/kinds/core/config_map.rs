//! `v1` ConfigMap.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "configmaps"),
    gvk: GroupVersionKind::new("", "v1", "ConfigMap"),
    singular: "configmap",
    scope: Scope::Namespaced,
    short_names: &["cm"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("configmaps")),
    strategy: &ConfigMapStrategy,
};

#[derive(Debug)]
struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {}
