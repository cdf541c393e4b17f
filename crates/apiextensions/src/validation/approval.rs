//! `api-approved.kubernetes.io`: definitions in the project's own groups need the project's approval.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    meta, quote,
};

use crate::{format::Format, schema::JsonType};

const ANNOTATION: &str = "api-approved.kubernetes.io";

/// What the annotation says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Nothing.
    Missing,
    /// That there is none.
    Bypassed,
    /// Where it was given.
    Approved,
    /// Neither a URL nor a reason.
    Invalid,
}

/// Whether a group is the project's own.
pub fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|own| {
        group
            .strip_suffix(own)
            .is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// The approval of a definition, and what is said of it.
pub fn approval(definition: &Object) -> (Approval, String) {
    let text = meta::annotation(definition, ANNOTATION).unwrap_or_default();
    if text.is_empty() {
        let message = format!(
            "protected groups must have approval annotation {}, see https://github.com/kubernetes/enhancements/pull/1111",
            quote(ANNOTATION)
        );
        return (Approval::Missing, message);
    }
    if text.starts_with("unapproved") {
        return (Approval::Bypassed, format!("not approved: {}", quote(text)));
    }
    let is_uri = Format::supported("uri", JsonType::String, false)
        .is_some_and(|format| format.accepts(text));
    let has_host = text.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.is_empty() && !rest.starts_with('/')
    });
    if is_uri && has_host {
        return (Approval::Approved, format!("approved in {text}"));
    }
    let message = format!(
        "protected groups must have approval annotation {} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111",
        quote(ANNOTATION)
    );
    (Approval::Invalid, message)
}

pub(super) fn validate(errors: &mut ErrorList, definition: &Object, old: Option<&Object>) {
    let group = definition
        .get("spec")
        .and_then(|spec| spec.get("group"))
        .and_then(|group| group.as_str())
        .unwrap_or_default();
    if !is_protected(group) {
        return;
    }
    let (state, reason) = approval(definition);
    if old.is_some_and(|old| approval(old).0 == state) {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(ANNOTATION);
    match state {
        Approval::Missing => errors.push(FieldError::required(&path, reason)),
        Approval::Invalid => {
            let value = meta::annotation(definition, ANNOTATION).unwrap_or_default();
            errors.push(FieldError::invalid(&path, value, reason));
        }
        Approval::Approved | Approval::Bypassed => {}
    }
}
