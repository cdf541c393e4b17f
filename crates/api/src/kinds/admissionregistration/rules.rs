//! Which requests a webhook or a policy is for: rules, and the selectors around them.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    names,
    validate::{one_of, selectors, text},
};

/// Operations that any rule may name.
const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
/// Operations that a mutating policy may name: there is nothing to change about a delete.
const MUTATING_OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];

/// What requests a rule matches: each list is there, and `*` stands alone.
pub(super) fn rule_with_operations(errors: &mut ErrorList, path: &Path, rule: &Object) {
    let at = path.child("operations");
    not_empty(errors, &at, rule, "operations");
    star_alone(errors, &at, rule, "operations", "other operations");
    for (index, operation) in rule.texts("operations").enumerate() {
        one_of(errors, &at.index(index), operation, OPERATIONS);
    }
    let at = path.child("apiGroups");
    not_empty(errors, &at, rule, "apiGroups");
    star_alone(errors, &at, rule, "apiGroups", "other API groups");
    let at = path.child("apiVersions");
    not_empty(errors, &at, rule, "apiVersions");
    star_alone(errors, &at, rule, "apiVersions", "other API versions");
    for (index, version) in rule.texts("apiVersions").enumerate() {
        if version.is_empty() {
            errors.push(FieldError::required(&at.index(index), ""));
        }
    }
    resources(errors, &path.child("resources"), rule);
    if let Some(scope) = rule.text_opt("scope") {
        let supported = ["*", "Cluster", "Namespaced"];
        one_of(errors, &path.child("scope"), scope, &supported);
    }
}

fn not_empty(errors: &mut ErrorList, at: &Path, rule: &Object, field: &str) {
    if rule.list(field).is_empty() {
        errors.push(FieldError::required(at, ""));
    }
}

fn star_alone(errors: &mut ErrorList, at: &Path, rule: &Object, field: &str, others: &str) {
    if rule.list(field).len() > 1 && rule.texts(field).any(|value| value == "*") {
        let detail = format!("if '*' is present, must not specify {others}");
        errors.push(FieldError::invalid(at, rule.list(field).to_vec(), detail));
    }
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`: none that another one covers.
fn resources(errors: &mut ErrorList, path: &Path, rule: &Object) {
    not_empty(errors, path, rule, "resources");
    let mut with_all_subresources = BTreeSet::new();
    let mut of_all_resources = BTreeSet::new();
    let (mut everything, mut all_resources, mut plain) = (false, false, false);
    for (index, name) in rule.texts("resources").enumerate() {
        let at = path.index(index);
        if name.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        everything |= name == "*/*";
        all_resources |= name == "*";
        let Some((resource, subresource)) = name.split_once('/') else {
            // As upstream: the last one counts.
            plain = name != "*";
            continue;
        };
        for (covered, by) in [
            (
                with_all_subresources.contains(resource),
                format!("{resource}/*"),
            ),
            (
                of_all_resources.contains(subresource),
                format!("*/{subresource}"),
            ),
        ] {
            if covered {
                let detail = format!("if '{by}' is present, must not specify {name}");
                errors.push(FieldError::invalid(&at, name, detail));
            }
        }
        if subresource == "*" {
            with_all_subresources.insert(resource);
        }
        if resource == "*" {
            of_all_resources.insert(subresource);
        }
    }
    let list = rule.list("resources");
    if list.len() > 1 && everything {
        let detail = "if '*/*' is present, must not specify other resources";
        errors.push(FieldError::invalid(path, list.to_vec(), detail));
    }
    if all_resources && plain {
        let detail = "if '*' is present, must not specify other resources without subresources";
        errors.push(FieldError::invalid(path, list.to_vec(), detail));
    }
}

/// `matchConstraints` of a policy, `matchResources` of a binding.
pub(super) fn match_resources(errors: &mut ErrorList, path: &Path, resources: &Object) {
    match resources.text_opt("matchPolicy") {
        None => errors.push(FieldError::required(&path.child("matchPolicy"), "")),
        Some(policy) => {
            let supported = ["Equivalent", "Exact"];
            one_of(errors, &path.child("matchPolicy"), policy, &supported);
        }
    }
    for name in ["namespaceSelector", "objectSelector"] {
        let at = path.child(name);
        match resources.object(name) {
            Some(selector) => selectors::label_selector(errors, &at, selector),
            None => errors.push(FieldError::required(&at, "")),
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in resources.objects(list) {
            named_rule(errors, &path.child(list).index(index), rule);
        }
    }
}

/// `matchConstraints`, which name at least one resource: that is where types come from.
pub(super) fn match_constraints(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let path = path.child("matchConstraints");
    let Some(constraints) = spec.object("matchConstraints") else {
        errors.push(FieldError::required(&path, ""));
        return;
    };
    match_resources(errors, &path, constraints);
    if constraints.list("resourceRules").is_empty() {
        errors.push(FieldError::required(&path.child("resourceRules"), ""));
    }
}

/// Of a mutating policy or its binding: operations which there is something to change about.
pub(super) fn mutating_operations(errors: &mut ErrorList, path: &Path, resources: Option<&Object>) {
    let at = path.child("resourceRules").child("operations");
    let rules = resources
        .into_iter()
        .flat_map(|r| r.objects("resourceRules"));
    for (_, rule) in rules {
        for operation in rule.texts("operations") {
            one_of(errors, &at, operation, MUTATING_OPERATIONS);
        }
    }
}

fn named_rule(errors: &mut ErrorList, path: &Path, rule: &Object) {
    let mut seen = BTreeSet::new();
    for (index, name) in rule.texts("resourceNames").enumerate() {
        let at = path.child("resourceNames").index(index);
        text(errors, &at, name, names::path_segment_name(name));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at, name));
        }
    }
    rule_with_operations(errors, path, rule);
}
