//! `apiextensions.k8s.io/v1` CustomResourceDefinition.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
    gvk: GroupVersionKind::new("apiextensions.k8s.io", "v1", "CustomResourceDefinition"),
    singular: "customresourcedefinition",
    scope: Scope::Cluster,
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apiextensions.k8s.io",
        "v1",
        "CustomResourceDefinition",
    ))],
    storage: Some(Storage::plain(
        "apiextensions.k8s.io/customresourcedefinitions",
    )),
    strategy: &CustomResourceDefinitionStrategy,
};

#[derive(Debug)]
struct CustomResourceDefinitionStrategy;

impl Strategy for CustomResourceDefinitionStrategy {}
