//! `admissionregistration.k8s.io/v1` ValidatingAdmissionPolicy: expressions that refuse. The defaults of what policies match stand here.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::admissionregistration::{
        expressions::{Expressions, Returns, Uses},
        policy::{self, AUTHORIZER},
        validating_webhook_configuration::default_rule,
    },
    lifecycle, names,
    validate::{conditions, invalid_shown, one_of, text},
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
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
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
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        validate(object, None)
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        validate(new, Some(old))
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        validate_status(new)
    }

    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::reset_metadata_for_status(new, old);
    }
}

/// How many audit annotations there may be, and how long the expression of one.
const MAX_AUDIT_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION_BYTES: usize = 5 << 10;

fn validate(object: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    policy::head(&mut errors, &path, spec);
    if policy::match_conditions_changed(spec, old) {
        policy::match_conditions(&mut errors, &path, spec, spec.has("paramKind"));
    }
    let expressions = policy::variables(&mut errors, &path, spec, false);
    if spec.list("validations").is_empty() && spec.list("auditAnnotations").is_empty() {
        for field in ["validations", "auditAnnotations"] {
            errors.push(FieldError::required(
                &path.child(field),
                "validations or auditAnnotations must contain at least one item",
            ));
        }
        return errors;
    }
    for (index, rule) in spec.objects("validations") {
        let at = path.child("validations").index(index);
        validation(&mut errors, &at, rule, &expressions);
    }
    let at = path.child("auditAnnotations");
    audit_annotations(&mut errors, &at, object, &expressions);
    errors
}

fn validation(errors: &mut ErrorList, path: &Path, validation: &Object, expressions: &Expressions) {
    let expression = validation.text("expression");
    let at = path.child("expression");
    if expression.trim().is_empty() {
        let detail = "expression is not specified";
        errors.push(FieldError::required(&at, detail));
    } else if let Err(wrong) = expressions.compile(expression, AUTHORIZER, Returns::Bool) {
        errors.push(wrong.at(&at, expression));
    }
    let of_message = validation.text("messageExpression");
    let at = path.child("messageExpression");
    if !of_message.is_empty() && of_message.trim().is_empty() {
        let detail = "must be non-empty if specified";
        errors.push(FieldError::invalid(&at, of_message, detail));
    } else if !of_message.is_empty()
        && let Err(wrong) = expressions.compile(of_message, Uses::default(), Returns::String)
    {
        errors.push(wrong.at(&at, of_message));
    }
    let message = validation.text("message");
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(
            &path.child("message"),
            message,
            "must be non-empty if specified",
        ));
    } else if message.trim().contains(['\n', '\r']) {
        errors.push(FieldError::invalid(
            &path.child("message"),
            message,
            "must not contain line breaks",
        ));
    }
    if let Some(reason) = validation.text_opt("reason") {
        let supported = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        one_of(errors, &path.child("reason"), reason, &supported);
    }
}

const AUDIT_ANNOTATION: &str = "io.k8s.api.admissionregistration.v1.AuditAnnotation";

fn audit_annotations(
    errors: &mut ErrorList,
    path: &Path,
    object: &Object,
    expressions: &Expressions,
) {
    let Some(spec) = object.object("spec") else {
        return;
    };
    let list = spec.list("auditAnnotations");
    if list.len() > MAX_AUDIT_ANNOTATIONS {
        errors.push(invalid_shown(
            path,
            &internal::in_go_names(AUDIT_ANNOTATION, list),
            &format!("must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations"),
        ));
    }
    let name = object
        .object("metadata")
        .map_or("", |metadata| metadata.text("name"));
    let mut seen = BTreeSet::new();
    for (index, annotation) in spec.objects("auditAnnotations") {
        let at = path.index(index);
        let key = annotation.text("key");
        if name.is_empty() {
            let detail = "requires metadata.name be non-empty";
            errors.push(FieldError::invalid(&at.child("key"), key, detail));
        } else {
            let whole = format!("{name}/{key}");
            text(
                errors,
                &at.child("key"),
                &whole,
                names::qualified_name(&whole),
            );
        }
        let expression = annotation.text("valueExpression").trim();
        let of_value = at.child("valueExpression");
        if expression.is_empty() {
            let detail = "valueExpression is not specified";
            errors.push(FieldError::required(&of_value, detail));
        } else if expression.len() > MAX_VALUE_EXPRESSION_BYTES {
            let detail = format!("must not exceed {MAX_VALUE_EXPRESSION_BYTES} bytes in length");
            errors.push(FieldError::required(&of_value, detail));
        } else if let Err(wrong) =
            expressions.compile(expression, AUTHORIZER, Returns::StringOrNull)
        {
            errors.push(wrong.at(&of_value, annotation.text("valueExpression")));
        }
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(&at.child("key"), key));
        }
    }
}

fn validate_status(object: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let Some(status) = object.object("status") else {
        return errors;
    };
    let path = Path::new("status");
    let warnings = path.child("typeChecking").child("expressionWarnings");
    let checked = status.object("typeChecking").into_iter();
    for (index, warning) in checked.flat_map(|checked| checked.objects("expressionWarnings")) {
        let at = warnings.index(index);
        for field in ["warning", "fieldRef"] {
            if warning.text(field).trim().is_empty() {
                errors.push(FieldError::required(&at.child(field), ""));
            }
        }
    }
    conditions::validate(&mut errors, &path.child("conditions"), status);
    errors
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
