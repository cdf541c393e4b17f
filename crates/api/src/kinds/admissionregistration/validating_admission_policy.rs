//! `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicy.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::admissionregistration::validating_webhook_configuration::default_rule,
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
    ),
    gvk: GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
    ),
    singular: "validatingadmissionpolicy",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicy",
    ))],
    storage: Some(Storage::plain("validatingadmissionpolicies")),
    strategy: &ValidatingAdmissionPolicyStrategy,
};

#[derive(Debug)]
struct ValidatingAdmissionPolicyStrategy;

impl Strategy for ValidatingAdmissionPolicyStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default("failurePolicy", "Fail");
        if let Some(constraints) = spec.object_mut("matchConstraints") {
            default_match(constraints);
        }
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// What a policy or a binding of one matches.
pub fn default_match(resources: &mut Object) {
    resources.set_default("matchPolicy", "Equivalent");
    resources.ensure_object("namespaceSelector");
    resources.ensure_object("objectSelector");
    for rules in ["resourceRules", "excludeResourceRules"] {
        resources.each_object(rules, default_rule);
    }
}
