//! The rules of a Job's status: how a Job ends, and that it stays ended.
//!
//! A Job is done when `Complete` or `Failed` is true; `SuccessCriteriaMet` or `FailureTarget` comes before, while its pods still stop.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kinds::batch::job_indexes,
    validate::{invalid_shown, non_negatives},
};

pub(super) fn is(status: &Object, condition: &str) -> bool {
    status
        .objects("conditions")
        .any(|(_, c)| c.text("type") == condition && c.text("status") == "True")
}

fn ended(status: &Object) -> bool {
    is(status, "Complete") || is(status, "Failed")
}

/// What of a status a write touches: what is wrong and was so before is left alone.
struct Touched<'a> {
    status: &'a Object,
    before: &'a Object,
}

impl Touched<'_> {
    fn field(&self, name: &str) -> bool {
        const STATUS: &str = "io.k8s.api.batch.v1.JobStatus";
        !internal::same_field(STATUS, self.status, self.before, name)
    }

    fn condition(&self, kind: &str) -> bool {
        is(self.status, kind) != is(self.before, kind)
    }

    fn end(&self) -> bool {
        ended(self.status) != ended(self.before)
    }
}

/// A changed status, in the light of the one before.
pub(super) fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let spec = new.object("spec").unwrap_or(&empty);
    let touched = Touched {
        status: new.object("status").unwrap_or(&empty),
        before: old.object("status").unwrap_or(&empty),
    };
    let path = Path::new("status");
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    non_negatives(&mut errors, &path, touched.status, &counts);
    uncounted(
        &mut errors,
        &path.child("uncountedTerminatedPods"),
        touched.status,
    );
    conditions_agree(&mut errors, &path, &touched);
    times(&mut errors, &path, &touched);
    before_the_end(&mut errors, &path.child("conditions"), &touched);
    at_the_end(&mut errors, &path, &touched, spec);
    indexes(&mut errors, &path, &touched, spec);
    pods_left(&mut errors, &path, &touched);
    success(&mut errors, &path.child("conditions"), touched.status, spec);
    only_forward(&mut errors, &path, &touched, spec);
    errors
}

/// A complaint about the conditions that shows none of them.
fn refuse(errors: &mut ErrorList, path: &Path, words: &str) {
    errors.push(invalid_shown(path, "", words));
}

/// Uids, each once.
fn uncounted(errors: &mut ErrorList, path: &Path, status: &Object) {
    let Some(pods) = status.object("uncountedTerminatedPods") else {
        return;
    };
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for list in ["succeeded", "failed"] {
        for (index, uid) in pods.texts(list).enumerate() {
            let at = path.child(list).index(index);
            if uid.is_empty() {
                errors.push(FieldError::invalid(&at, uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(FieldError::duplicate(&at, uid));
            }
        }
    }
}

fn conditions_agree(errors: &mut ErrorList, path: &Path, touched: &Touched<'_>) {
    let at = path.child("conditions");
    let complete = is(touched.status, "Complete");
    let or_complete = |kind: &str| touched.condition("Complete") || touched.condition(kind);
    if or_complete("Failed") && complete && is(touched.status, "Failed") {
        let words = "cannot set Complete=True and Failed=true conditions";
        refuse(errors, &at, words);
    }
    if or_complete("FailureTarget") && complete && is(touched.status, "FailureTarget") {
        let words = "cannot set Complete=True and FailureTarget=true conditions";
        refuse(errors, &at, words);
    }
}

fn times(errors: &mut ErrorList, path: &Path, touched: &Touched<'_>) {
    let at = path.child("completionTime");
    let complete = is(touched.status, "Complete");
    let start = touched.status.text("startTime");
    let end = touched.status.text("completionTime");
    if touched.condition("Complete") || touched.field("completionTime") {
        if !complete && !end.is_empty() {
            errors.push(FieldError::invalid(
                &at,
                end,
                "cannot set completionTime when there is no Complete=True condition",
            ));
        }
        if complete && end.is_empty() {
            errors.push(FieldError::required(
                &at,
                "completionTime is required for Complete jobs",
            ));
        }
    }
    let either = touched.field("startTime") || touched.field("completionTime");
    // Times are UTC to the second, so that they compare as text.
    if either && !start.is_empty() && !end.is_empty() && end < start {
        let detail = "must be equal to or after `startTime`";
        errors.push(FieldError::invalid(&at, end, detail));
    }
}

/// Before a Job ends, it is said how it will.
fn before_the_end(errors: &mut ErrorList, path: &Path, touched: &Touched<'_>) {
    let status = touched.status;
    let failing = touched.condition("Failed") || touched.field("failedIndexes");
    if failing && is(status, "Failed") && !is(status, "FailureTarget") {
        let words = "cannot set Failed=True condition without the FailureTarget=true condition";
        refuse(errors, path, words);
    }
    let completing = touched.condition("Complete") || touched.condition("SuccessCriteriaMet");
    if completing && is(status, "Complete") && !is(status, "SuccessCriteriaMet") {
        let words =
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        refuse(errors, path, words);
    }
}

fn at_the_end(errors: &mut ErrorList, path: &Path, touched: &Touched<'_>, spec: &Object) {
    let status = touched.status;
    if !ended(status) {
        return;
    }
    let active = status.int("active").unwrap_or(0);
    if (touched.end() || touched.field("active")) && active > 0 {
        errors.push(FieldError::invalid(
            &path.child("active"),
            active,
            "active>0 is invalid for finished job",
        ));
    }
    let nothing_to_do = spec.is_true("suspend") && spec.int("completions") == Some(0);
    if (touched.end() || touched.field("startTime"))
        && !nothing_to_do
        && status.text("startTime").is_empty()
    {
        errors.push(FieldError::required(
            &path.child("startTime"),
            "startTime is required for finished job",
        ));
    }
    let field = "uncountedTerminatedPods";
    let left = status
        .object(field)
        .filter(|pods| !pods.list("succeeded").is_empty() || !pods.list("failed").is_empty());
    if let Some(pods) = left
        && (touched.end() || touched.field(field))
    {
        let pods = Value::Object(pods.clone());
        let ty = "io.k8s.api.batch.v1.UncountedTerminatedPods";
        errors.push(invalid_shown(
            &path.child(field),
            &internal::shown(ty, Some(&pods)),
            "must be empty for finished job",
        ));
    }
}

fn indexes(errors: &mut ErrorList, path: &Path, touched: &Touched<'_>, spec: &Object) {
    let status = touched.status;
    let completed = status.text("completedIndexes");
    let failed = status.text_opt("failedIndexes");
    let (new_completed, new_failed) = (
        touched.field("completedIndexes"),
        touched.field("failedIndexes"),
    );
    let completions = spec.int("completions");
    let mut refuse = |field: &str, indexes: &str, detail: String| {
        errors.push(FieldError::invalid(&path.child(field), indexes, detail));
    };
    if let Some(completions) = completions {
        if new_completed && let Err(complaint) = job_indexes::count(completed, completions) {
            let detail = format!("error parsing completedIndexes: {complaint}");
            refuse("completedIndexes", completed, detail);
        }
        if let Some(failed) = failed
            && new_failed
            && spec.has("backoffLimitPerIndex")
            && let Err(complaint) = job_indexes::count(failed, completions)
        {
            let detail = format!("error parsing failedIndexes: {complaint}");
            refuse("failedIndexes", failed, detail);
        }
    }
    if new_completed && !completed.is_empty() && spec.text("completionMode") != "Indexed" {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        refuse("completedIndexes", completed, detail.to_owned());
    }
    let Some(failed) = failed else { return };
    if new_failed && !spec.has("backoffLimitPerIndex") {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        refuse("failedIndexes", failed, detail.to_owned());
    }
    if (new_completed || new_failed)
        && let Some(completions) = completions
        && let Some(index) = job_indexes::overlap(completed, failed, completions)
    {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        refuse("failedIndexes", failed, detail);
    }
}

fn pods_left(errors: &mut ErrorList, path: &Path, touched: &Touched<'_>) {
    let status = touched.status;
    let number = |field: &str| status.int(field).unwrap_or(0);
    let terminating = number("terminating");
    if (touched.end() || touched.field("terminating")) && terminating > 0 && ended(status) {
        errors.push(FieldError::invalid(
            &path.child("terminating"),
            terminating,
            "terminating>0 is invalid for finished job",
        ));
    }
    if let Some(ready) = status.int("ready")
        && (touched.field("ready") || touched.field("active"))
        && ready > number("active")
    {
        errors.push(FieldError::invalid(
            &path.child("ready"),
            ready,
            "cannot set more ready pods than active",
        ));
    }
}

fn success(errors: &mut ErrorList, path: &Path, status: &Object, spec: &Object) {
    let met = is(status, "SuccessCriteriaMet");
    if met && is(status, "Failed") {
        let words = "cannot set SuccessCriteriaMet=True and Failed=true conditions";
        refuse(errors, path, words);
    }
    if met && is(status, "FailureTarget") {
        let words = "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions";
        refuse(errors, path, words);
    }
    if spec.has("successPolicy") && !met && is(status, "Complete") {
        let words =
            "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        refuse(errors, path, words);
    }
}

/// What has happened has happened.
fn only_forward(errors: &mut ErrorList, path: &Path, touched: &Touched<'_>, spec: &Object) {
    let (status, before) = (touched.status, touched.before);
    let conditions = path.child("conditions");
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is(before, kind) && !is(status, kind) {
            let words = format!("cannot disable the terminal {kind}=True condition");
            refuse(errors, &conditions, &words);
        }
    }
    // The completions of an indexed Job may sink with its size.
    let resizable = spec.text("completionMode") == "Indexed"
        && spec.int("completions") == spec.int("parallelism");
    for (field, applies) in [("failed", true), ("succeeded", !resizable)] {
        let now = status.int(field).unwrap_or(0);
        if applies && now < before.int(field).unwrap_or(0) {
            let detail = format!("cannot decrease the {field} counter");
            errors.push(FieldError::invalid(&path.child(field), now, detail));
        }
    }
    let (now, then) = (status.text("completionTime"), before.text("completionTime"));
    if !now.is_empty() && !then.is_empty() && now != then {
        let at = path.child("completionTime");
        errors.push(FieldError::invalid(&at, now, "field is immutable"));
    }
    let resuming = is(before, "Suspended")
        && status
            .objects("conditions")
            .any(|(_, c)| c.text("type") == "Suspended" && c.text("status") == "False");
    let started = !before.text("startTime").is_empty();
    if touched.field("startTime") && !resuming && started && !spec.is_true("suspend") {
        let shown = status.value("startTime").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(
            &path.child("startTime"),
            shown,
            "field is immutable for unsuspended job once set",
        ));
    }
    if is(before, "SuccessCriteriaMet") && !is(status, "SuccessCriteriaMet") {
        let words = "cannot disable the SuccessCriteriaMet=True condition";
        refuse(errors, &conditions, words);
    }
    if is(before, "Complete")
        && !is(before, "SuccessCriteriaMet")
        && is(status, "SuccessCriteriaMet")
    {
        let words =
            "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        refuse(errors, &conditions, words);
    }
}
