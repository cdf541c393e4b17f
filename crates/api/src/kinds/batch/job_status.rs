//! The rules of a Job's status: how a Job ends, and that it stays ended.
//!
//! A Job is done when `Complete` or `Failed` is true; `SuccessCriteriaMet` or `FailureTarget` comes before, while its pods still stop.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::{Fields, same_field},
    validate::{invalid_shown, non_negatives},
};

fn is(status: &Object, condition: &str) -> bool {
    status
        .objects("conditions")
        .any(|(_, c)| c.text("type") == condition && c.text("status") == "True")
}

/// A changed status, in the light of the one before.
pub(super) fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let status = new.object("status").unwrap_or(&empty);
    let before = old.object("status").unwrap_or(&empty);
    let path = Path::new("status");
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    non_negatives(&mut errors, &path, status, &counts);
    // A Job that ended before these rules were made keeps its status as long as nobody touches it.
    if !same_field(new, old, "status") {
        how_it_ends(&mut errors, &path, status);
    }
    stays_ended(&mut errors, &path.child("conditions"), status, before);
    errors
}

fn how_it_ends(errors: &mut ErrorList, path: &Path, status: &Object) {
    let conditions = path.child("conditions");
    let completion = path.child("completionTime");
    let (complete, failed) = (is(status, "Complete"), is(status, "Failed"));
    let mut refuse = |words: &str| errors.push(invalid_shown(&conditions, "", words));
    if complete && failed {
        refuse("cannot set Complete=True and Failed=true conditions");
    }
    if complete && is(status, "FailureTarget") {
        refuse("cannot set Complete=True and FailureTarget=true conditions");
    }
    let (start, end) = (status.text("startTime"), status.text("completionTime"));
    if !complete && !end.is_empty() {
        errors.push(FieldError::invalid(
            &completion,
            end,
            "cannot set completionTime when there is no Complete=True condition",
        ));
    }
    if complete && end.is_empty() {
        errors.push(FieldError::required(
            &completion,
            "completionTime is required for Complete jobs",
        ));
    }
    // Times are UTC to the second, so that they compare as text.
    if !start.is_empty() && !end.is_empty() && end < start {
        errors.push(FieldError::invalid(
            &completion,
            end,
            "completionTime cannot be set before startTime",
        ));
    }
    let mut refuse = |words: &str| errors.push(invalid_shown(&conditions, "", words));
    if failed && !is(status, "FailureTarget") {
        refuse("cannot set Failed=True condition without the FailureTarget=true condition");
    }
    if complete && !is(status, "SuccessCriteriaMet") {
        refuse("cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
    }
    if complete || failed {
        let active = status.int("active").unwrap_or(0);
        if active > 0 {
            errors.push(FieldError::invalid(
                &path.child("active"),
                active,
                "active>0 is invalid for finished job",
            ));
        }
        if start.is_empty() {
            errors.push(FieldError::required(
                &path.child("startTime"),
                "startTime is required for finished job",
            ));
        }
    }
}

fn stays_ended(errors: &mut ErrorList, path: &Path, status: &Object, before: &Object) {
    for (condition, words) in [
        (
            "Failed",
            "cannot disable the terminal Failed=True condition",
        ),
        (
            "Complete",
            "cannot disable the terminal Complete=True condition",
        ),
        (
            "FailureTarget",
            "cannot disable the FailureTarget=True condition",
        ),
        (
            "SuccessCriteriaMet",
            "cannot disable the SuccessCriteriaMet=True condition",
        ),
    ] {
        if is(before, condition) && !is(status, condition) {
            errors.push(invalid_shown(path, "", words));
        }
    }
}
