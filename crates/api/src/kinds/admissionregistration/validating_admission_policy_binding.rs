//! `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicyBinding: where a policy applies, and what its refusal means.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::admissionregistration::{policy, rules, validating_admission_policy::default_match},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
    ),
    gvk: GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingAdmissionPolicyBinding",
    ),
    singular: "validatingadmissionpolicybinding",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("validatingadmissionpolicybindings")),
    strategy: &ValidatingAdmissionPolicyBindingStrategy,
};

#[derive(Debug)]
struct ValidatingAdmissionPolicyBindingStrategy;

impl Strategy for ValidatingAdmissionPolicyBindingStrategy {
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        if let Some(resources) = spec.object_mut("matchResources") {
            default_match(resources);
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
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        policy::binding_head(&mut errors, &path, spec);
        if let Some(resources) = spec.object("matchResources") {
            rules::match_resources(&mut errors, &path.child("matchResources"), resources);
        }
        policy::validation_actions(&mut errors, &path.child("validationActions"), spec);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}
