//! Rules that policies and their bindings share, and webhooks in part.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::GroupVersion,
};

use super::{
    expressions::{Expressions, Returns, Uses},
    rules,
};
use crate::{
    fields::Fields,
    names,
    validate::{one_of, required_text, selectors, text},
};

/// With `authorizer`.
pub(super) const AUTHORIZER: Uses = Uses {
    authorizer: true,
    patches: false,
};
/// How many match conditions there may be.
const MAX_MATCH_CONDITIONS: usize = 64;

/// What begins every policy: its failure policy, its parameters, and which requests it is for.
pub(super) fn head(errors: &mut ErrorList, path: &Path, spec: &Object) {
    match spec.text_opt("failurePolicy") {
        None => errors.push(FieldError::required(&path.child("failurePolicy"), "")),
        Some(policy) => {
            one_of(
                errors,
                &path.child("failurePolicy"),
                policy,
                &["Fail", "Ignore"],
            );
        }
    }
    if let Some(kind) = spec.object("paramKind") {
        param_kind(errors, &path.child("paramKind"), kind);
    }
    rules::match_constraints(errors, path, spec);
}

/// The kind of a policy's parameters.
fn param_kind(errors: &mut ErrorList, path: &Path, kind: &Object) {
    let at = path.child("apiVersion");
    let api_version = kind.text("apiVersion");
    match GroupVersion::parse(api_version) {
        _ if api_version.is_empty() => errors.push(FieldError::required(&at, "")),
        None => errors.push(FieldError::invalid(
            &at,
            api_version,
            format!("unexpected GroupVersion string: {api_version}"),
        )),
        Some(parsed) => {
            let mut joined = |value: &str, complaints: Vec<String>| {
                if !complaints.is_empty() {
                    errors.push(FieldError::invalid(&at, value, complaints.join(",")));
                }
            };
            if !parsed.group.is_empty() {
                joined(&parsed.group, names::dns1123_subdomain(&parsed.group));
            }
            if parsed.version.is_empty() {
                joined(api_version, vec!["version must be specified".to_owned()]);
            } else {
                joined(&parsed.version, names::dns1035_label(&parsed.version));
            }
        }
    }
    let name = kind.text("kind");
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("kind"), ""));
        return;
    }
    let complaints = names::dns1035_label(&name.to_lowercase());
    if !complaints.is_empty() {
        errors.push(FieldError::invalid(
            &path.child("kind"),
            name,
            format!(
                "may have mixed case, but should otherwise match: {}",
                complaints.join(",")
            ),
        ));
    }
}

/// `matchConditions` of a webhook or a policy.
pub(super) fn match_conditions(errors: &mut ErrorList, path: &Path, owner: &Object, params: bool) {
    // The policy's variables are not for them.
    let expressions = Expressions::new(params, false);
    let path = path.child("matchConditions");
    let count = owner.list("matchConditions").len();
    if count > MAX_MATCH_CONDITIONS {
        errors.push(FieldError::too_many(&path, count, MAX_MATCH_CONDITIONS));
    }
    let mut seen = BTreeSet::new();
    for (index, condition) in owner.objects("matchConditions") {
        let at = path.index(index);
        let expression = condition.text("expression").trim();
        let of_expression = at.child("expression");
        if expression.is_empty() {
            errors.push(FieldError::required(&of_expression, ""));
        } else if let Err(wrong) = expressions.compile(expression, AUTHORIZER, Returns::Bool) {
            errors.push(wrong.at(&of_expression, expression));
        }
        let name = condition.text("name");
        required_text(errors, &at.child("name"), name, names::qualified_name);
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
    }
}

/// What begins every binding: the name of its policy, and its parameters.
pub(super) fn binding_head(errors: &mut ErrorList, path: &Path, spec: &Object) {
    required_text(
        errors,
        &path.child("policyName"),
        spec.text("policyName"),
        names::dns1123_subdomain,
    );
    if let Some(reference) = spec.object("paramRef") {
        param_ref(errors, &path.child("paramRef"), reference);
    }
}

fn param_ref(errors: &mut ErrorList, path: &Path, reference: &Object) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let name = reference.text("name");
    let selector = reference.object("selector");
    if !name.is_empty() {
        text(
            errors,
            &path.child("name"),
            name,
            names::path_segment_name(name),
        );
        if selector.is_some() {
            errors.push(FieldError::forbidden(&path.child("name"), EXCLUSIVE));
        }
    }
    if let Some(selector) = selector {
        selectors::label_selector(errors, &path.child("selector"), selector);
        if !name.is_empty() {
            errors.push(FieldError::forbidden(&path.child("selector"), EXCLUSIVE));
        }
    }
    if name.is_empty() && selector.is_none() {
        errors.push(FieldError::required(
            path,
            "one of name or selector must be specified",
        ));
    }
    let at = path.child("parameterNotFoundAction");
    match reference.text("parameterNotFoundAction") {
        "" => errors.push(FieldError::required(&at, "")),
        action => one_of(errors, &at, action, &["Deny", "Allow"]),
    }
}

/// What a binding does with a failed validation.
pub(super) fn validation_actions(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let mut seen = BTreeSet::new();
    for (index, action) in spec.texts("validationActions").enumerate() {
        let at = path.index(index);
        one_of(errors, &at, action, &["Audit", "Deny", "Warn"]);
        if !seen.insert(action) {
            errors.push(FieldError::duplicate(&at, action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        errors.push(FieldError::invalid(
            path,
            spec.list("validationActions").to_vec(),
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
        ));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(
            path,
            "at least one validation action is required",
        ));
    }
}

/// Whether match conditions have to be judged again: they, or what they may speak of, have changed.
pub(super) fn match_conditions_changed(spec: &Object, old: Option<&Object>) -> bool {
    let Some(old) = old.and_then(|old| old.object("spec")) else {
        return true;
    };
    ["paramKind", "matchConditions"]
        .iter()
        .any(|field| spec.value(field) != old.value(field))
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next();
    first.is_some_and(|b| b == b'_' || b.is_ascii_alphabetic())
        && bytes.all(|b| b == b'_' || b.is_ascii_alphanumeric())
        && !cel::is_reserved(name)
}

/// `variables`: each has a name and an expression, which may use those before it. All expressions of the policy after them; a policy
/// without any knows the word only if it is `always` known.
pub(super) fn variables(
    errors: &mut ErrorList,
    path: &Path,
    spec: &Object,
    always: bool,
) -> Expressions {
    let known = always || !spec.list("variables").is_empty();
    let mut expressions = Expressions::new(spec.has("paramKind"), known);
    for (index, variable) in spec.objects("variables") {
        let at = path.child("variables").index(index);
        let name = variable.text("name");
        if name.trim().is_empty() {
            let detail = "name is not specified";
            errors.push(FieldError::required(&at.child("name"), detail));
        } else if !is_identifier(name) {
            let detail = "must be a valid CEL identifier";
            errors.push(FieldError::invalid(&at.child("name"), name, detail));
        }
        let expression = variable.text("expression");
        let of_expression = at.child("expression");
        if expression.trim().is_empty() {
            let detail = "expression is not specified";
            errors.push(FieldError::required(&of_expression, detail));
        } else if let Err(wrong) = expressions.add_variable(name, expression) {
            errors.push(wrong.at(&of_expression, expression));
        }
    }
    expressions
}
