//! `v1` PodTemplate.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "podtemplates"),
    gvk: GroupVersionKind::new("", "v1", "PodTemplate"),
    singular: "podtemplate",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("podtemplates")),
    strategy: &PodTemplateStrategy,
};

#[derive(Debug)]
struct PodTemplateStrategy;

impl Strategy for PodTemplateStrategy {}
