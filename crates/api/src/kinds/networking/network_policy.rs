//! `networking.k8s.io/v1` NetworkPolicy.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "networkpolicies"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "NetworkPolicy"),
    singular: "networkpolicy",
    scope: Scope::Namespaced,
    short_names: &["netpol"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("networkpolicies")),
    strategy: &NetworkPolicyStrategy,
};

#[derive(Debug)]
struct NetworkPolicyStrategy;

impl Strategy for NetworkPolicyStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        for direction in ["ingress", "egress"] {
            spec.each_object(direction, |rule| {
                rule.each_object("ports", |port| port.set_default_zero("protocol", "TCP"));
            });
        }
        // The PodSelector is always written; an empty one means all pods.
        spec.ensure_object("podSelector");
        if spec.list("policyTypes").is_empty() {
            let egress = !spec.list("egress").is_empty();
            let types = if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            spec.set("policyTypes", types);
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }
}
