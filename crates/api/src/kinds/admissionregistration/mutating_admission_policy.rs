//! `admissionregistration.k8s.io/v1` MutatingAdmissionPolicy: expressions that change what comes in.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::admissionregistration::{rules, validating_admission_policy::default_match},
    lifecycle,
    validate::one_of,
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        rules::param_kind(&mut errors, &path.child("paramKind"), spec);
        if !spec.has("matchConstraints") {
            errors.push(FieldError::required(&path.child("matchConstraints"), ""));
        }
        if spec.list("mutations").is_empty() {
            errors.push(FieldError::required(
                &path.child("mutations"),
                "mutations must contain at least one item",
            ));
        }
        for (index, mutation) in spec.objects("mutations") {
            one_of(
                &mut errors,
                &path.child("mutations").index(index).child("patchType"),
                mutation.text("patchType"),
                &["ApplyConfiguration", "JSONPatch"],
            );
        }
        one_of(
            &mut errors,
            &path.child("failurePolicy"),
            spec.text("failurePolicy"),
            &["Fail", "Ignore"],
        );
        match spec.text("reinvocationPolicy") {
            "" => errors.push(FieldError::required(&path.child("reinvocationPolicy"), "")),
            policy => one_of(
                &mut errors,
                &path.child("reinvocationPolicy"),
                policy,
                &["IfNeeded", "Never"],
            ),
        }
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}
