//! Checks that many kinds share, by topic; what belongs to one kind stands in its file.
//!
//! They push onto a list, so that complaints keep the order in which upstream makes them.

pub mod conditions;
pub mod ports;
pub mod selectors;
pub mod webhooks;

use std::cell::Cell;

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
};
use serde_json::Value;

use crate::fields::Fields as _;

/// One `Invalid value` for each message about a string.
pub fn text(errors: &mut ErrorList, path: &Path, value: &str, messages: Vec<String>) {
    errors.extend(
        messages
            .into_iter()
            .map(|m| FieldError::invalid(path, value, m)),
    );
}

/// A string that must be there and pass `check`.
pub fn required_text(
    errors: &mut ErrorList,
    path: &Path,
    value: &str,
    check: fn(&str) -> Vec<String>,
) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        text(errors, path, value, check(value));
    }
}

/// No complaint about any string, for [`required_text`].
pub fn anything(_: &str) -> Vec<String> {
    Vec::new()
}

/// A string that is one of `supported`, which stand as upstream sorts them.
pub fn one_of(errors: &mut ErrorList, path: &Path, value: &str, supported: &[&str]) {
    if !supported.contains(&value) {
        errors.push(FieldError::not_supported(path, value, supported));
    }
}

/// A number that may be absent, but not negative.
pub fn non_negative(errors: &mut ErrorList, path: &Path, value: Option<i64>) {
    errors.extend(value.and_then(|v| crate::meta::non_negative(v, path)));
}

/// The numbers `fields` of `owner` that may be absent, but not negative.
pub fn non_negatives(errors: &mut ErrorList, path: &Path, owner: &Object, fields: &[&str]) {
    for field in fields {
        non_negative(errors, &path.child(field), owner.int(field));
    }
}

/// What has been told by complaints that each show a whole list. Upstream tells them all: gigabytes, of a list with ten thousand items.
#[derive(Debug, Default)]
pub struct ToldBytes(Cell<usize>);

impl ToldBytes {
    /// When so much has been told, no more is.
    pub const ENOUGH: usize = 4 << 20;

    /// Whether another one is told, which shows so much. The first always is.
    pub fn may_tell(&self, bytes: usize) -> bool {
        let told = self.0.get();
        self.0.set(told.saturating_add(bytes));
        told < Self::ENOUGH
    }
}

/// `Invalid value` with the value printed by the caller: upstream shows its internal types, whose fields have other names and order.
pub fn invalid_shown(path: &Path, shown: &str, detail: &str) -> FieldError {
    shown_as(ErrorType::Invalid, path, shown, detail)
}

/// Like [`invalid_shown`], of any sort.
pub fn shown_as(kind: ErrorType, path: &Path, shown: &str, detail: &str) -> FieldError {
    let detail = match (shown, detail) {
        ("", detail) => detail.to_owned(),
        (shown, "") => shown.to_owned(),
        (shown, detail) => format!("{shown}: {detail}"),
    };
    FieldError {
        kind,
        field: path.clone(),
        bad_value: None,
        detail,
    }
}

/// A number or a percentage, as rolling updates and disruption budgets take it.
pub fn int_or_percent(errors: &mut ErrorList, path: &Path, value: &Value) {
    match value {
        Value::String(percent) => text(errors, path, percent, crate::names::percent(percent)),
        Value::Number(number) => non_negative(errors, path, number.as_i64()),
        _ => errors.push(FieldError::invalid(
            path,
            value.clone(),
            "must be an integer or percentage (e.g '5%%')",
        )),
    }
}

/// A percentage may not be more than all.
pub fn not_more_than_100_percent(errors: &mut ErrorList, path: &Path, value: &Value) {
    if percent_of(value).is_some_and(|p| p > 100) {
        errors.push(FieldError::invalid(
            path,
            value.clone(),
            "must not be greater than 100%",
        ));
    }
}

/// The number before the `%`.
pub fn percent_of(value: &Value) -> Option<i64> {
    value.as_str()?.strip_suffix('%')?.parse().ok()
}

/// Whether a number or percentage is nothing.
pub fn is_zero(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(text)) if !text.ends_with('%') => {
            // Upstream reads it as a number after all; what is none counts as zero.
            text.parse::<i64>().map_or(true, |number| number == 0)
        }
        Some(other) => percent_of(other).is_none_or(|percent| percent <= 0),
        None => true,
    }
}

const HTTP_PATH: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

/// `domain/path`: controllers, `managedBy`.
pub fn domain_prefixed_path(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let parts = value.split_once('/').filter(|(host, _)| !host.is_empty());
    let Some((host, rest)) = parts.filter(|(_, rest)| !rest.is_empty()) else {
        errors.push(FieldError::invalid(
            path,
            value,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        ));
        return;
    };
    text(errors, path, host, crate::names::dns1123_subdomain(host));
    let good = rest
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&b));
    if !good {
        let rule = format!("Invalid path (regex used for validation is '{HTTP_PATH}')");
        errors.push(FieldError::invalid(path, rest, rule));
    }
}

/// A DNS name with at least two labels; a trailing dot is good.
pub fn fully_qualified_domain_name(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let value = value.strip_suffix('.').unwrap_or(value);
    let mut complain = |value: &str, messages: Vec<String>| {
        if !messages.is_empty() {
            errors.push(FieldError::invalid(path, value, messages.join(",")));
        }
        !messages.is_empty()
    };
    if complain(value, crate::names::dns1123_subdomain(value)) {
        return;
    }
    if !value.contains('.') {
        let advice = "should be a domain with at least two segments separated by dots";
        complain(value, vec![advice.to_owned()]);
        return;
    }
    for label in value.split('.') {
        if complain(label, crate::names::dns1123_label(label)) {
            return;
        }
    }
}
