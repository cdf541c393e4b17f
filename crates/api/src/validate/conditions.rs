//! Conditions of a status.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::{one_of, text};
use crate::{fields::Fields, names};

/// `metav1.Condition`: types are unique and qualified, the status one of three, reason and time required.
pub fn validate(errors: &mut ErrorList, path: &Path, status: &Object) {
    let mut seen = Vec::new();
    for (index, condition) in status.objects("conditions") {
        let at = path.index(index);
        let kind = condition.text("type");
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        seen.push(kind);
        if kind.is_empty() {
            errors.push(FieldError::required(&at.child("type"), ""));
        } else {
            text(errors, &at.child("type"), kind, names::qualified_name(kind));
        }
        one_of(
            errors,
            &at.child("status"),
            condition.text("status"),
            &["False", "True", "Unknown"],
        );
        super::non_negative(
            errors,
            &at.child("observedGeneration"),
            condition.int("observedGeneration"),
        );
        if condition.text("lastTransitionTime").is_empty() {
            errors.push(FieldError::required(&at.child("lastTransitionTime"), ""));
        }
        if condition.text("reason").is_empty() {
            errors.push(FieldError::required(&at.child("reason"), ""));
        }
    }
}
