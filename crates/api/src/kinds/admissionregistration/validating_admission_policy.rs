//! `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicy: expressions that refuse. The defaults of what policies match stand here.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::admissionregistration::{rules, validating_webhook_configuration::default_rule},
    lifecycle,
    validate::one_of,
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        rules::param_kind(&mut errors, &path.child("paramKind"), spec);
        if !spec.has("matchConstraints") {
            errors.push(FieldError::required(&path.child("matchConstraints"), ""));
        }
        if spec.list("validations").is_empty() && spec.list("auditAnnotations").is_empty() {
            for field in ["validations", "auditAnnotations"] {
                errors.push(FieldError::required(
                    &path.child(field),
                    "validations or auditAnnotations must contain at least one item",
                ));
            }
        }
        one_of(
            &mut errors,
            &path.child("failurePolicy"),
            spec.text("failurePolicy"),
            &["Fail", "Ignore"],
        );
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_metadata(new, old, &["labels"]);
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
