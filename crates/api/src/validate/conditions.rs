//! Conditions of a status.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::{one_of, text};
use crate::{fields::Fields, names};

const MAX_REASON_BYTES: usize = 1024;
const MAX_MESSAGE_BYTES: usize = 32 * 1024;

/// `metav1.Condition`: types are unique and qualified, the status one of three, reason and time required.
pub fn validate(errors: &mut ErrorList, path: &Path, status: &Object) {
    let mut seen = BTreeSet::new();
    for (index, condition) in status.objects("conditions") {
        let at = path.index(index);
        let kind = condition.text("type");
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        text(errors, &at.child("type"), kind, names::qualified_name(kind));
        one_of(
            errors,
            &at.child("status"),
            condition.text("status"),
            &["False", "True", "Unknown"],
        );
        if let Some(generation) = condition.int("observedGeneration").filter(|g| *g < 0) {
            errors.push(FieldError::invalid(
                &at.child("observedGeneration"),
                generation,
                "must be greater than or equal to zero",
            ));
        }
        if condition.text("lastTransitionTime").is_empty() {
            errors.push(FieldError::required(&at.child("lastTransitionTime"), ""));
        }
        reason(errors, &at.child("reason"), condition.text("reason"));
        if condition.text("message").len() > MAX_MESSAGE_BYTES {
            errors.push(FieldError::too_long(
                &at.child("message"),
                MAX_MESSAGE_BYTES,
            ));
        }
    }
}

/// A word in CamelCase, or such words with `_`, `,` and `:` between them.
fn reason(errors: &mut ErrorList, path: &Path, reason: &str) {
    if reason.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let good = reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && reason
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b',' | b':'));
    if !good {
        let detail = names::regex_error(
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'",
            "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?",
            &[
                "my_name",
                "MY_NAME",
                "MyName",
                "ReasonA,ReasonB",
                "ReasonA:ReasonB",
            ],
        );
        errors.push(FieldError::invalid(path, reason, detail));
    }
    if reason.len() > MAX_REASON_BYTES {
        errors.push(FieldError::too_long(path, MAX_REASON_BYTES));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(condition: serde_json::Value) -> Vec<String> {
        let mut errors = Vec::new();
        let status = json!({ "conditions": [condition] });
        let path = Path::new("conditions");
        validate(&mut errors, &path, status.as_object().unwrap());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_condition_has_a_type_and_a_reason_that_can_be_read() {
        let good = json!({
            "type": "example.com/Ready", "status": "True", "reason": "A,B:C_",
            "lastTransitionTime": "2020-01-01T00:00:00Z",
        });
        assert!(complaints(good.clone()).is_empty());
        for (field, value, expected) in [
            (
                "type",
                json!(""),
                "conditions[0].type: Invalid value: \"\": name part must be non-empty",
            ),
            (
                "reason",
                json!("10.0"),
                "conditions[0].reason: Invalid value: \"10.0\": a condition reason must start",
            ),
            (
                "reason",
                json!("a-b"),
                "conditions[0].reason: Invalid value: \"a-b\": a condition reason must start",
            ),
            ("reason", json!(""), "conditions[0].reason: Required value"),
            (
                "reason",
                json!("x".repeat(1025)),
                "conditions[0].reason: Too long: may not be more than 1024 bytes",
            ),
            (
                "observedGeneration",
                json!(-1),
                "conditions[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero",
            ),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            let shown = complaints(bad);
            assert!(
                shown
                    .first()
                    .is_some_and(|first| first.starts_with(expected)),
                "{shown:?}"
            );
        }
    }
}
