//! `resource.k8s.io/v1` ResourceClaimTemplate.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "resourceclaimtemplates"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "ResourceClaimTemplate"),
    singular: "resourceclaimtemplate",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("resourceclaimtemplates")),
    strategy: &ResourceClaimTemplateStrategy,
};

#[derive(Debug)]
struct ResourceClaimTemplateStrategy;

impl Strategy for ResourceClaimTemplateStrategy {}
