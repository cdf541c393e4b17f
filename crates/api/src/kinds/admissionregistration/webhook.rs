//! The rules of webhooks, validating and mutating. What a rule came to forbid later is let through where it was there before.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::{policy, rules};
use crate::{
    fields::Fields,
    names,
    validate::{one_of, selectors, text, webhooks},
};

/// Whether webhooks change objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Validating,
    Mutating,
}

const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];

/// What is demanded in the light of what was there.
struct Demands {
    no_side_effects: bool,
    known_review_version: bool,
    unique_names: bool,
    strict_selectors: bool,
    match_conditions: bool,
}

impl Demands {
    const ALL: Self = Self {
        no_side_effects: true,
        known_review_version: true,
        unique_names: true,
        strict_selectors: true,
        match_conditions: true,
    };

    fn of_update(new: &Object, old: &Object) -> Self {
        let hooks = || old.objects("webhooks").map(|(_, hook)| hook);
        let is_known = |hook: &Object| {
            let versions = hook.list("admissionReviewVersions");
            versions.is_empty() || has_known_version(hook)
        };
        let mut seen = BTreeSet::new();
        let conditions = |object: &Object| -> Vec<_> {
            let hooks = object.objects("webhooks");
            hooks
                .map(|(_, hook)| hook.list("matchConditions").to_vec())
                .collect()
        };
        Self {
            no_side_effects: hooks()
                .all(|hook| NO_SIDE_EFFECTS.contains(&hook.text("sideEffects"))),
            known_review_version: hooks().all(is_known),
            unique_names: hooks().all(|hook| seen.insert(hook.text("name"))),
            strict_selectors: hooks().all(has_good_selectors),
            match_conditions: conditions(new) != conditions(old),
        }
    }
}

fn has_known_version(hook: &Object) -> bool {
    hook.texts("admissionReviewVersions")
        .any(|version| REVIEW_VERSIONS.contains(&version))
}

fn has_good_selectors(hook: &Object) -> bool {
    let mut errors = Vec::new();
    for name in ["namespaceSelector", "objectSelector"] {
        if let Some(selector) = hook.object(name) {
            selectors::label_selector(&mut errors, &Path::new(name), selector);
        }
    }
    errors.is_empty()
}

/// All complaints about a configuration, in the light of the old one.
pub(super) fn configuration(sort: Sort, new: &Object, old: Option<&Object>) -> ErrorList {
    let demands = old.map_or(Demands::ALL, |old| Demands::of_update(new, old));
    let mut errors = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, hook) in new.objects("webhooks") {
        let path = Path::new("webhooks").index(index);
        webhook(&mut errors, &path, sort, hook, &demands);
        review_versions(&mut errors, &path, hook, &demands);
        let name = hook.text("name");
        if demands.unique_names && !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
    errors
}

fn webhook(errors: &mut ErrorList, path: &Path, sort: Sort, hook: &Object, demands: &Demands) {
    fully_qualified_name(errors, &path.child("name"), hook.text("name"));
    for (index, rule) in hook.objects("rules") {
        rules::rule_with_operations(errors, &path.child("rules").index(index), rule);
    }
    let mut choice = |name: &str, supported: &[&str]| {
        if let Some(value) = hook.text_opt(name) {
            one_of(errors, &path.child(name), value, supported);
        }
    };
    choice("failurePolicy", &["Fail", "Ignore"]);
    choice("matchPolicy", &["Equivalent", "Exact"]);
    let allowed = if demands.no_side_effects {
        NO_SIDE_EFFECTS
    } else {
        SIDE_EFFECTS
    };
    match hook.text_opt("sideEffects") {
        None => errors.push(FieldError::required(
            &path.child("sideEffects"),
            format!("must specify one of {}", allowed.join(", ")),
        )),
        Some(effects) => one_of(errors, &path.child("sideEffects"), effects, allowed),
    }
    if let Some(seconds) = hook.int("timeoutSeconds").filter(|s| !(1..=30).contains(s)) {
        errors.push(FieldError::invalid(
            &path.child("timeoutSeconds"),
            seconds,
            "the timeout value must be between 1 and 30 seconds",
        ));
    }
    if demands.strict_selectors {
        for name in ["namespaceSelector", "objectSelector"] {
            if let Some(selector) = hook.object(name) {
                selectors::label_selector(errors, &path.child(name), selector);
            }
        }
    }
    if sort == Sort::Mutating
        && let Some(reinvocation) = hook.text_opt("reinvocationPolicy")
    {
        let supported = ["IfNeeded", "Never"];
        one_of(
            errors,
            &path.child("reinvocationPolicy"),
            reinvocation,
            &supported,
        );
    }
    let empty = Object::new();
    let client = hook.object("clientConfig").unwrap_or(&empty);
    webhooks::client_config(errors, &path.child("clientConfig"), client);
    if demands.match_conditions {
        policy::match_conditions(errors, path, hook, false);
    }
}

/// A DNS name of three segments or more.
fn fully_qualified_name(errors: &mut ErrorList, path: &Path, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let complaints = names::dns1123_subdomain(name);
    if !complaints.is_empty() {
        errors.push(FieldError::invalid(path, name, complaints.join(",")));
    } else if name.split('.').count() < 3 {
        errors.push(FieldError::invalid(
            path,
            name,
            "should be a domain with at least three segments separated by dots",
        ));
    }
}

fn review_versions(errors: &mut ErrorList, path: &Path, hook: &Object, demands: &Demands) {
    let at = path.child("admissionReviewVersions");
    let known = REVIEW_VERSIONS.join(", ");
    if hook.list("admissionReviewVersions").is_empty() {
        let detail = format!("must specify one of {known}");
        errors.push(FieldError::required(&at, detail));
        return;
    }
    let mut seen = BTreeSet::new();
    for (index, version) in hook.texts("admissionReviewVersions").enumerate() {
        let at = at.index(index);
        if seen.insert(version) {
            text(errors, &at, version, names::dns1035_label(version));
        } else {
            errors.push(FieldError::invalid(&at, version, "duplicate version"));
        }
    }
    if demands.known_review_version && !has_known_version(hook) {
        errors.push(FieldError::invalid(
            &at,
            hook.list("admissionReviewVersions").to_vec(),
            format!("must include at least one of {known}"),
        ));
    }
}
