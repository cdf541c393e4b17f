//! The rules of a Job's spec, also of that in a CronJob: numbers, completion mode, failure and success policies.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kinds::{
        batch::job_indexes,
        core::pod_spec::{self, template},
    },
    names,
    validate::{domain_prefixed_path, invalid_shown, non_negatives, one_of, text},
};

const MAX_MANAGED_BY: usize = 63;
/// Bounds of Jobs whose pods are counted one by one.
const MAX_INDEXED: i64 = 100_000;
/// Bounds of those with more completions than that.
const MAX_BEYOND: i64 = 10_000;
const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_INDEXES: usize = 64 * 1024;

/// A pattern that names a condition and no more matches where it is true; also in the template of a CronJob.
pub(super) fn default_failure_policy(spec: &mut Object) {
    if let Some(policy) = spec.object_mut("podFailurePolicy") {
        policy.each_object("rules", |rule| {
            rule.each_object("onPodConditions", |c| c.set_default_zero("status", "True"));
        });
    }
}

/// A `JobSpec` at `path`, but for its selector.
pub(super) fn validate(errors: &mut ErrorList, path: &Path, spec: &Object) {
    non_negatives(
        errors,
        path,
        spec,
        &[
            "parallelism",
            "completions",
            "activeDeadlineSeconds",
            "backoffLimit",
            "ttlSecondsAfterFinished",
            "backoffLimitPerIndex",
            "maxFailedIndexes",
        ],
    );
    if spec.has("maxFailedIndexes") && !spec.has("backoffLimitPerIndex") {
        errors.push(FieldError::required(
            &path.child("backoffLimitPerIndex"),
            "when maxFailedIndexes is specified",
        ));
    }
    if let Some(manager) = spec.text_opt("managedBy") {
        let at = path.child("managedBy");
        domain_prefixed_path(errors, &at, manager);
        if manager.len() > MAX_MANAGED_BY {
            errors.push(FieldError::too_long(&at, MAX_MANAGED_BY));
        }
    }
    completion_mode(errors, path, spec);
    if let Some(policy) = spec.object("podFailurePolicy") {
        failure_policy(errors, &path.child("podFailurePolicy"), policy, spec);
    }
    if let Some(policy) = spec.object("successPolicy") {
        let at = path.child("successPolicy");
        if spec.text("completionMode") == "Indexed" {
            success_policy(errors, &at, policy, spec.int("completions").unwrap_or(0));
        } else {
            let policy = Value::Object(policy.clone());
            let ty = "io.k8s.api.batch.v1.SuccessPolicy";
            errors.push(invalid_shown(
                &at,
                &internal::shown(ty, Some(&policy)),
                "requires indexed completion mode",
            ));
        }
    }
    if let Some(policy) = spec.text_opt("podReplacementPolicy") {
        // Upstream names the spec.
        let at = path.child("podReplacementPolicy");
        let supported: &[&str] = if spec.has("podFailurePolicy") {
            &["Failed"]
        } else {
            &["Failed", "TerminatingOrFailed"]
        };
        one_of(errors, &at, policy, supported);
    }
    let at = path.child("template");
    template::validate_template(errors, &at, spec.object("template"));
    restart_policy(errors, &at.child("spec").child("restartPolicy"), spec);
}

fn restart_policy(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let policy = spec
        .object("template")
        .and_then(|t| t.object("spec"))
        .map_or("", |s| s.text("restartPolicy"));
    match policy {
        "Always" | "" => errors.push(FieldError::required(
            path,
            "valid values: \"OnFailure\", \"Never\"",
        )),
        "Never" => {}
        "OnFailure" if !spec.has("podFailurePolicy") => {}
        "OnFailure" => errors.push(FieldError::invalid(
            path,
            policy,
            "only \"Never\" is supported when podFailurePolicy is specified",
        )),
        other => errors.push(FieldError::not_supported(
            path,
            other,
            &["OnFailure", "Never"],
        )),
    }
}

fn completion_mode(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let mode = spec.text_opt("completionMode");
    if let Some(mode) = mode {
        let at = path.child("completionMode");
        one_of(errors, &at, mode, &["NonIndexed", "Indexed"]);
    }
    match mode {
        Some("Indexed") => indexed(errors, path, spec),
        None | Some("NonIndexed") => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if let Some(value) = spec.int(field) {
                    errors.push(FieldError::invalid(
                        &path.child(field),
                        value,
                        "requires indexed completion mode",
                    ));
                }
            }
        }
        Some(_) => {}
    }
}

/// Each completion has its index.
fn indexed(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let (parallelism, max_failed) = (spec.int("parallelism"), spec.int("maxFailedIndexes"));
    let completions = spec.int("completions");
    let limit = format!("must be less than or equal to {MAX_INDEXED}");
    if completions.is_none() {
        errors.push(FieldError::required(
            &path.child("completions"),
            "when completion mode is Indexed",
        ));
    }
    at_most(
        errors,
        path,
        "parallelism",
        parallelism,
        MAX_INDEXED,
        || format!("{limit} when completion mode is Indexed"),
    );
    if let Some(completions) = completions {
        at_most(
            errors,
            path,
            "maxFailedIndexes",
            max_failed,
            completions,
            || "must be less than or equal to completions".to_owned(),
        );
    }
    at_most(
        errors,
        path,
        "maxFailedIndexes",
        max_failed,
        MAX_INDEXED,
        || limit.clone(),
    );
    let beyond = completions.is_some_and(|completions| completions > MAX_INDEXED);
    if !beyond || !spec.has("backoffLimitPerIndex") {
        return;
    }
    if max_failed.is_none() {
        errors.push(FieldError::required(
            &path.child("maxFailedIndexes"),
            format!("must be specified when completions is above {MAX_INDEXED}"),
        ));
    }
    for (field, value) in [
        ("parallelism", parallelism),
        ("maxFailedIndexes", max_failed),
    ] {
        at_most(errors, path, field, value, MAX_BEYOND, || {
            format!(
                "must be less than or equal to {MAX_BEYOND} when completions are above {MAX_INDEXED} and used with backoff limit per index"
            )
        });
    }
}

fn at_most(
    errors: &mut ErrorList,
    path: &Path,
    field: &str,
    value: Option<i64>,
    max: i64,
    detail: impl Fn() -> String,
) {
    if let Some(value) = value.filter(|value| *value > max) {
        errors.push(FieldError::invalid(&path.child(field), value, detail()));
    }
}

fn failure_policy(errors: &mut ErrorList, path: &Path, policy: &Object, spec: &Object) {
    let path = path.child("rules");
    let rules = policy.list("rules").len();
    if rules > MAX_RULES {
        errors.push(FieldError::too_many(&path, rules, MAX_RULES));
    }
    let empty = Object::new();
    let pod = spec
        .object("template")
        .and_then(|template| template.object("spec"))
        .unwrap_or(&empty);
    let containers: Vec<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| pod.objects(list).map(|(_, c)| c.text("name")))
        .collect();
    for (index, rule) in policy.objects("rules") {
        let at = path.index(index);
        let action = rule.text("action");
        if action == "FailIndex" && !spec.has("backoffLimitPerIndex") {
            errors.push(FieldError::invalid(
                &at.child("action"),
                action,
                "requires the backoffLimitPerIndex to be set",
            ));
        } else {
            required_one_of(
                errors,
                &at.child("action"),
                action,
                &["Count", "FailIndex", "FailJob", "Ignore"],
            );
        }
        let codes = rule.object("onExitCodes");
        if let Some(codes) = codes {
            exit_codes(errors, &at.child("onExitCodes"), codes, &containers);
        }
        let conditions = !rule.list("onPodConditions").is_empty();
        if conditions {
            pod_conditions(errors, &at.child("onPodConditions"), rule);
        }
        match (codes.is_some(), conditions) {
            (true, true) => errors.push(invalid_shown(
                &at,
                "",
                "specifying both OnExitCodes and OnPodConditions is not supported",
            )),
            (false, false) => errors.push(invalid_shown(
                &at,
                "",
                "specifying one of OnExitCodes and OnPodConditions is required",
            )),
            _ => {}
        }
    }
}

/// A text that must be there, with what it may be, and one of `supported`.
fn required_one_of(errors: &mut ErrorList, path: &Path, value: &str, supported: &[&str]) {
    if value.is_empty() {
        let quoted: Vec<String> = supported.iter().map(|s| apimachinery::quote(s)).collect();
        let detail = format!("valid values: [{}]", quoted.join(" "));
        errors.push(FieldError::required(path, detail));
    } else {
        one_of(errors, path, value, supported);
    }
}

fn exit_codes(errors: &mut ErrorList, path: &Path, codes: &Object, containers: &[&str]) {
    let operator = codes.text("operator");
    required_one_of(errors, &path.child("operator"), operator, &["In", "NotIn"]);
    if let Some(container) = codes.text_opt("containerName")
        && !containers.contains(&container)
    {
        errors.push(FieldError::invalid(
            &path.child("containerName"),
            container,
            "must be one of the container or initContainer names in the pod template",
        ));
    }
    let at = path.child("values");
    let values: Vec<i64> = codes
        .list("values")
        .iter()
        .filter_map(Value::as_i64)
        .collect();
    if values.is_empty() {
        let shown = codes.value("values").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(
            &at,
            shown,
            "at least one value is required",
        ));
    } else if values.len() > MAX_EXIT_CODES {
        errors.push(FieldError::too_many(&at, values.len(), MAX_EXIT_CODES));
    }
    for (index, value) in values.iter().enumerate() {
        let at = at.index(index);
        if operator == "In" && *value == 0 {
            let detail = "must not be 0 for the In operator";
            errors.push(FieldError::invalid(&at, *value, detail));
        }
        if values[..index].contains(value) {
            errors.push(FieldError::duplicate(&at, *value));
        }
    }
    if !values.is_sorted() {
        errors.push(FieldError::invalid(&at, values, "must be ordered"));
    }
}

fn pod_conditions(errors: &mut ErrorList, path: &Path, rule: &Object) {
    let patterns = rule.list("onPodConditions").len();
    if patterns > MAX_RULES {
        errors.push(FieldError::too_many(path, patterns, MAX_RULES));
    }
    for (index, pattern) in rule.objects("onPodConditions") {
        let at = path.index(index);
        let kind = pattern.text("type");
        text(errors, &at.child("type"), kind, names::qualified_name(kind));
        required_one_of(
            errors,
            &at.child("status"),
            pattern.text("status"),
            &["False", "True", "Unknown"],
        );
    }
}

fn success_policy(errors: &mut ErrorList, path: &Path, policy: &Object, completions: i64) {
    let path = path.child("rules");
    let rules = policy.list("rules").len();
    if rules == 0 {
        errors.push(FieldError::required(
            &path,
            "at least one rules must be specified when the successPolicy is specified",
        ));
    }
    if rules > MAX_RULES {
        errors.push(FieldError::too_many(&path, rules, MAX_RULES));
    }
    for (index, rule) in policy.objects("rules") {
        success_rule(errors, &path.index(index), rule, completions);
    }
}

fn success_rule(errors: &mut ErrorList, path: &Path, rule: &Object, completions: i64) {
    let indexes = rule.text_opt("succeededIndexes");
    let wanted = rule.int("succeededCount");
    if indexes.is_none() && wanted.is_none() {
        errors.push(FieldError::required(
            path,
            "at least one of succeededCount or succeededIndexes must be specified",
        ));
    }
    let mut total = 0;
    if let Some(indexes) = indexes {
        let at = path.child("succeededIndexes");
        if indexes.len() > MAX_INDEXES {
            errors.push(FieldError::too_long(&at, MAX_INDEXES));
        }
        match job_indexes::count(indexes, completions) {
            Ok(count) => total = count,
            Err(complaint) => errors.push(FieldError::invalid(
                &at,
                indexes,
                format!("error parsing succeededIndexes: {complaint}"),
            )),
        }
    }
    let Some(wanted) = wanted else { return };
    let at = path.child("succeededCount");
    errors.extend(crate::meta::non_negative(wanted, &at));
    let bounds = [
        (true, completions, "the number of specified completions"),
        (
            indexes.is_some(),
            total,
            "the number of indexes in the specified succeededIndexes field",
        ),
    ];
    for (applies, bound, noun) in bounds {
        if applies && wanted > bound {
            let detail = format!("must be less than or equal to {bound} ({noun})");
            errors.push(FieldError::invalid(&at, wanted, detail));
        }
    }
}

/// What is not wise about a spec that is new or changed.
pub(super) fn warnings(path: &Path, spec: Option<&Object>, old: Option<&Object>) -> Vec<String> {
    let mut warnings = Vec::new();
    let Some(spec) = spec else { return warnings };
    let number = |field: &str| spec.int(field).unwrap_or(0);
    if spec.text("completionMode") == "Indexed"
        && number("completions") > MAX_INDEXED
        && number("parallelism") > MAX_BEYOND
    {
        warnings.push(format!(
            "{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
        ));
    }
    warnings.extend(pod_spec::warnings::of_template(
        &path.child("template"),
        spec.object("template"),
        old.and_then(|old| old.object("template")),
    ));
    warnings
}
