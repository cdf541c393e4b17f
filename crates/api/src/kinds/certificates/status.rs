//! The status of a CertificateSigningRequest: its conditions (`Approved`, `Denied`, `Failed`, and others of signers) and its certificate.
//!
//! A decision stands: conditions of the three sorts are never taken back, and only `approval` adds the first two. A certificate is given
//! once, through `status`.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use crate::{fields::Fields, validate::one_of};

const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// What an update may do to the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Allowed {
    /// It came through the object itself.
    Nothing,
    /// Through `approval`.
    Approval,
    /// Through `status`.
    Certificate,
}

fn conditions(request: &Object) -> impl Iterator<Item = &Object> {
    request
        .object("status")
        .into_iter()
        .flat_map(|status| status.objects("conditions"))
        .map(|(_, condition)| condition)
}

fn of_type<'a>(request: &'a Object, wanted: &str) -> Vec<&'a Object> {
    conditions(request)
        .filter(|condition| condition.text("type") == wanted)
        .collect()
}

fn certificate(request: &Object) -> &str {
    request
        .object("status")
        .map_or("", |status| status.text("certificate"))
}

/// Approvals and denials are as they were, wherever that can be said: as many of a sort as before. What differs in number is left to validation.
pub(super) fn keep_approval(new: &mut Object, old: &Object) {
    for sort in [APPROVED, DENIED] {
        let before: Vec<Value> = of_type(old, sort)
            .into_iter()
            .map(|condition| Value::Object(condition.clone()))
            .collect();
        if before.len() != of_type(new, sort).len() {
            continue;
        }
        let mut before = before.into_iter();
        let conditions = new
            .get_mut("status")
            .and_then(|status| status.get_mut("conditions"))
            .and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            if condition.get("type").and_then(Value::as_str) == Some(sort)
                && let Some(kept) = before.next()
            {
                *condition = kept;
            }
        }
    }
}

/// Complaints about the status by itself; what was wrong in `old` already may stay.
pub(super) fn validate(errors: &mut ErrorList, request: &Object, old: Option<&Object>) {
    let path = Path::new("status").child("conditions");
    let was = |wrong: fn(&Object) -> bool| old.is_some_and(wrong);
    let (mut approved, mut denied) = (false, false);
    for (index, condition) in conditions(request).enumerate() {
        let at = path.index(index);
        let sort = condition.text("type");
        if sort.is_empty() && !was(|old| !of_type(old, "").is_empty()) {
            errors.push(FieldError::required(&at.child("type"), ""));
        }
        let allowed: &[&str] = match sort {
            APPROVED | DENIED | FAILED => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        match condition.text("status") {
            "" => errors.push(FieldError::required(&at.child("status"), "")),
            status => one_of(errors, &at.child("status"), status, allowed),
        }
        approved |= sort == APPROVED;
        denied |= sort == DENIED;
        if approved && denied && matches!(sort, APPROVED | DENIED) && !was(is_both) {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(&path, sort, detail));
        }
    }
    if !was(has_duplicates) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (index, condition) in conditions(request).enumerate() {
            let sort = condition.text("type");
            if !seen.insert(sort) {
                errors.push(FieldError::duplicate(
                    &path.index(index).child("type"),
                    sort,
                ));
            }
        }
    }
    if !was(|old| judge_certificate(certificate(old)).is_err())
        && let Err(detail) = judge_certificate(certificate(request))
    {
        errors.push(FieldError::invalid(
            &Path::new("status").child("certificate"),
            "<certificate data>",
            detail,
        ));
    }
}

fn is_both(request: &Object) -> bool {
    !of_type(request, APPROVED).is_empty() && !of_type(request, DENIED).is_empty()
}

fn has_duplicates(request: &Object) -> bool {
    let sorts: Vec<&str> = conditions(request)
        .map(|condition| condition.text("type"))
        .collect();
    (1..sorts.len()).any(|index| sorts[..index].contains(&sorts[index]))
}

/// Complaints about what an update does to the status.
pub(super) fn validate_change(
    errors: &mut ErrorList,
    new: &Object,
    old: &Object,
    allowed: Allowed,
) {
    let path = Path::new("status").child("conditions");
    for sort in [APPROVED, DENIED, FAILED] {
        if of_type(new, sort).len() < of_type(old, sort).len() {
            let detail = format!("updates may not remove a condition of type {sort:?}");
            errors.push(FieldError::forbidden(&path, detail));
        }
    }
    if allowed != Allowed::Approval {
        for sort in [APPROVED, DENIED] {
            let (before, after) = (of_type(old, sort), of_type(new, sort));
            let did = if after.len() > before.len() {
                "add"
            } else if after.len() == before.len() && after != before {
                "modify"
            } else {
                continue;
            };
            let detail = format!("updates may not {did} a condition of type {sort:?}");
            errors.push(FieldError::forbidden(&path, detail));
        }
    }
    let (before, after) = (certificate(old), certificate(new));
    if before == after {
        return;
    }
    let path = Path::new("status").child("certificate");
    if allowed != Allowed::Certificate {
        let detail = "updates may not set certificate content";
        errors.push(FieldError::forbidden(&path, detail));
    } else if !before.is_empty() {
        let detail = "updates may not modify existing certificate content";
        errors.push(FieldError::forbidden(&path, detail));
    }
}

/// Whether a certificate (base64 of PEM) is empty or a chain of blocks `CERTIFICATE`. What is in the blocks is judged where X.509 is known.
fn judge_certificate(encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    let pem = String::from_utf8_lossy(&pem);
    let mut blocks = 0;
    let mut lines = pem.lines().map(str::trim_end);
    while let Some(line) = lines.next() {
        let Some(sort) = line
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"))
        else {
            continue;
        };
        let end = format!("-----END {sort}-----");
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
        if sort != "CERTIFICATE" {
            return Err(format!(
                "only CERTIFICATE PEM blocks are allowed, found {sort:?}"
            ));
        }
        if body.iter().any(|line| line.contains(':')) {
            return Err("no PEM block headers are permitted".to_owned());
        }
        blocks += 1;
    }
    if blocks == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(conditions: Value, certificate: &str) -> Object {
        let mut status = json!({"conditions": conditions});
        if !certificate.is_empty() {
            status["certificate"] = STANDARD.encode(certificate).into();
        }
        json!({"status": status}).as_object().cloned().unwrap()
    }

    fn complaints(new: &Object, old: &Object, allowed: Allowed) -> Vec<String> {
        let mut errors = Vec::new();
        validate(&mut errors, new, Some(old));
        validate_change(&mut errors, new, old, allowed);
        errors.iter().map(ToString::to_string).collect()
    }

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";

    #[test]
    fn decisions_are_made_once_and_where_they_belong() {
        let approved = json!([{"type": "Approved", "status": "True"}]);
        let new = request(approved.clone(), "");
        let none = request(json!([]), "");
        assert_eq!(complaints(&new, &none, Allowed::Approval), [""; 0]);
        assert_eq!(
            complaints(&new, &none, Allowed::Certificate),
            [r#"status.conditions: Forbidden: updates may not add a condition of type "Approved""#]
        );
        assert_eq!(
            complaints(&none, &new, Allowed::Approval),
            [
                r#"status.conditions: Forbidden: updates may not remove a condition of type "Approved""#
            ]
        );
        let both =
            json!([{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]);
        assert_eq!(
            complaints(&request(both, ""), &new, Allowed::Approval),
            [
                r#"status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive"#
            ]
        );
    }

    #[test]
    fn a_certificate_is_given_once() {
        let none = request(json!([]), "");
        let given = request(json!([]), CERTIFICATE);
        assert_eq!(complaints(&given, &none, Allowed::Certificate), [""; 0]);
        for (new, old, allowed, expected) in [
            (
                &given,
                &none,
                Allowed::Approval,
                "updates may not set certificate content",
            ),
            (
                &none,
                &given,
                Allowed::Certificate,
                "updates may not modify existing certificate content",
            ),
        ] {
            assert_eq!(
                complaints(new, old, allowed),
                [format!("status.certificate: Forbidden: {expected}")]
            );
        }
        for (pem, expected) in [
            ("x", "must contain at least one CERTIFICATE PEM block"),
            (
                "-----BEGIN KEY-----\nMA==\n-----END KEY-----\n",
                "only CERTIFICATE PEM blocks are allowed, found \"KEY\"",
            ),
        ] {
            assert_eq!(
                judge_certificate(&STANDARD.encode(pem)).unwrap_err(),
                expected
            );
        }
    }

    #[test]
    fn approvals_survive_a_status_update() {
        let old = request(
            json!([{"type": "Approved", "status": "True", "reason": "a"}]),
            "",
        );
        let mut new = request(
            json!([{"type": "Approved", "status": "True", "reason": "b"}]),
            "",
        );
        keep_approval(&mut new, &old);
        assert_eq!(new, old);
    }
}
