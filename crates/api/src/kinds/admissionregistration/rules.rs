//! Rules that webhooks, policies and their bindings share.
//!
//! Whether an expression compiles is for whoever evaluates it: admission has the compiler.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    names,
    validate::{one_of, selectors, text},
};

/// One webhook of a configuration.
pub(super) fn webhook(errors: &mut ErrorList, path: &Path, webhook: &Object) {
    let name = webhook.text("name");
    text(
        errors,
        &path.child("name"),
        name,
        names::fully_qualified_domain_name(name),
    );
    for (index, rule) in webhook.objects("rules") {
        rule_with_operations(errors, &path.child("rules").index(index), rule);
    }
    one_of(
        errors,
        &path.child("failurePolicy"),
        webhook.text("failurePolicy"),
        &["Fail", "Ignore"],
    );
    one_of(
        errors,
        &path.child("matchPolicy"),
        webhook.text("matchPolicy"),
        &["Equivalent", "Exact"],
    );
    match webhook.text("sideEffects") {
        "" => errors.push(FieldError::required(
            &path.child("sideEffects"),
            "must specify one of None, NoneOnDryRun",
        )),
        effects => one_of(
            errors,
            &path.child("sideEffects"),
            effects,
            &["None", "NoneOnDryRun"],
        ),
    }
    if let Some(seconds) = webhook
        .int("timeoutSeconds")
        .filter(|s| !(1..=30).contains(s))
    {
        errors.push(FieldError::invalid(
            &path.child("timeoutSeconds"),
            seconds,
            "the timeout value must be between 1 and 30 seconds",
        ));
    }
    for name in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = webhook.object(name) {
            selectors::label_selector(errors, &path.child(name), selector);
        }
    }
    let empty = Object::new();
    let client = webhook.object("clientConfig").unwrap_or(&empty);
    if client.has("url") == client.has("service") {
        errors.push(FieldError::required(
            &path.child("clientConfig"),
            "exactly one of url or service is required",
        ));
    }
    let versions = path.child("admissionReviewVersions");
    if webhook.list("admissionReviewVersions").is_empty() {
        errors.push(FieldError::required(
            &versions,
            "must specify one of v1, v1beta1",
        ));
    } else if !webhook
        .texts("admissionReviewVersions")
        .any(|v| matches!(v, "v1" | "v1beta1"))
    {
        errors.push(FieldError::invalid(
            &versions,
            webhook.list("admissionReviewVersions").to_vec(),
            "must include at least one of v1, v1beta1",
        ));
    }
}

/// What requests a rule matches: each list is there, and `*` stands alone.
fn rule_with_operations(errors: &mut ErrorList, path: &Path, rule: &Object) {
    let operations = path.child("operations");
    let star = |field: &str, star: &str| {
        rule.list(field).len() > 1 && rule.texts(field).any(|v| v == star)
    };
    if rule.list("operations").is_empty() {
        errors.push(FieldError::required(&operations, ""));
    }
    if star("operations", "*") {
        errors.push(FieldError::invalid(
            &operations,
            rule.list("operations").to_vec(),
            "if '*' is present, must not specify other operations",
        ));
    }
    for (index, operation) in rule.texts("operations").enumerate() {
        one_of(
            errors,
            &operations.index(index),
            operation,
            &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"],
        );
    }
    for (field, all, noun) in [
        ("apiGroups", "*", "API groups"),
        ("apiVersions", "*", "API versions"),
        ("resources", "*/*", "resources"),
    ] {
        let at = path.child(field);
        if rule.list(field).is_empty() {
            errors.push(FieldError::required(&at, ""));
        }
        if star(field, all) {
            errors.push(FieldError::invalid(
                &at,
                rule.list(field).to_vec(),
                format!("if '{all}' is present, must not specify other {noun}"),
            ));
        }
    }
    if rule.has("scope") {
        one_of(
            errors,
            &path.child("scope"),
            rule.text("scope"),
            &["*", "Cluster", "Namespaced"],
        );
    }
}

/// The kind of a policy's parameters.
pub(super) fn param_kind(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let Some(kind) = spec.object("paramKind") else {
        return;
    };
    for field in ["apiVersion", "kind"] {
        if kind.text(field).is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    }
}

/// What a binding does with a failed validation.
pub(super) fn validation_actions(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let actions: Vec<&str> = spec.texts("validationActions").collect();
    if actions.is_empty() {
        errors.push(FieldError::required(
            path,
            "at least one validation action is required",
        ));
    }
    for (index, action) in actions.iter().enumerate() {
        one_of(
            errors,
            &path.index(index),
            action,
            &["Audit", "Deny", "Warn"],
        );
    }
    if actions.contains(&"Deny") && actions.contains(&"Warn") {
        errors.push(FieldError::invalid(
            path,
            spec.list("validationActions").to_vec(),
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ));
    }
}
