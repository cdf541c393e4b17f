//! `resource.k8s.io/v1` ResourceClaimTemplate: claims made for each pod.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::resource::resource_claim::default_claim_spec,
};

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

impl Strategy for ResourceClaimTemplateStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.ensure_object("metadata");
        default_claim_spec(spec.ensure_object("spec"));
    }
}
