//! `resource.k8s.io/v1` ResourceClaim.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "resourceclaims"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "ResourceClaim"),
    singular: "resourceclaim",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "resource.k8s.io",
        "v1",
        "ResourceClaim",
    ))],
    storage: Some(Storage::plain("resourceclaims")),
    strategy: &ResourceClaimStrategy,
};

#[derive(Debug)]
struct ResourceClaimStrategy;

impl Strategy for ResourceClaimStrategy {
    fn default(&self, object: &mut Object) {
        default_claim_spec(object.ensure_object("spec"));
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
}

/// Of a claim or the template of one: how many devices a request wants.
pub fn default_claim_spec(spec: &mut Object) {
    spec.ensure_object("devices")
        .each_object("requests", |request| {
            if let Some(exactly) = request.object_mut("exactly") {
                default_request(exactly);
            }
            request.each_object("firstAvailable", default_request);
        });
}

fn default_request(request: &mut Object) {
    request.set_default_zero("allocationMode", "ExactCount");
    if request.text("allocationMode") == "ExactCount" {
        request.set_default_zero("count", 1);
    }
    request.each_object("tolerations", |t| t.set_default_zero("operator", "Equal"));
}
