//! `admissionregistration.k8s.io/v1` MutatingAdmissionPolicy.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::admissionregistration::validating_admission_policy::default_match,
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicies",
    ),
    gvk: GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
    ),
    singular: "mutatingadmissionpolicy",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("mutatingadmissionpolicies")),
    strategy: &MutatingAdmissionPolicyStrategy,
};

#[derive(Debug)]
struct MutatingAdmissionPolicyStrategy;

impl Strategy for MutatingAdmissionPolicyStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default("failurePolicy", "Fail");
        spec.set_default_zero("reinvocationPolicy", "Never");
        if let Some(constraints) = spec.object_mut("matchConstraints") {
            default_match(constraints);
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
