//! `batch/v1` Job: pods that run to an end. The server makes its selector; `job_status.rs` says how it ends.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::{
        batch::job_status,
        core::pod_spec::{self, defaults},
    },
    lifecycle,
    validate::{
        domain_prefixed_path, invalid_shown, non_negative, non_negatives, one_of, selectors,
    },
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("batch", "v1", "jobs"),
    gvk: GroupVersionKind::new("batch", "v1", "Job"),
    singular: "job",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "batch", "v1", "Job",
    ))],
    storage: Some(Storage::plain("jobs")),
    strategy: &JobStrategy,
};

#[derive(Debug)]
struct JobStrategy;

impl Strategy for JobStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        // Neither number given: one pod, which must succeed. Only parallelism given: a work queue.
        if !spec.has("completions") && !spec.has("parallelism") {
            spec.set("completions", 1);
        }
        spec.set_default("parallelism", 1);
        let indexed_backoff = spec.has("backoffLimitPerIndex");
        spec.set_default(
            "backoffLimit",
            if indexed_backoff {
                i64::from(i32::MAX)
            } else {
                6
            },
        );
        own_labels(object);
        let spec = object.ensure_object("spec");
        spec.set_default("completionMode", "NonIndexed");
        spec.set_default("suspend", false);
        spec.set_default("manualSelector", false);
        if !spec.has("podReplacementPolicy") {
            let policy = if spec.has("podFailurePolicy") {
                "Failed"
            } else {
                "TerminatingOrFailed"
            };
            spec.set("podReplacementPolicy", policy);
        }
        if let Some(policy) = spec.object_mut("podFailurePolicy") {
            policy.each_object("rules", |rule| {
                rule.each_object("onPodConditions", |c| c.set_default_zero("status", "True"));
            });
        }
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        pod_spec::disabled::drop_from_template(object);
        object.remove("status");
        object.ensure_object("status");
        if !object
            .object("spec")
            .is_some_and(|s| s.is_true("manualSelector"))
        {
            generate_selector(object);
        }
        own_labels(object);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        pod_spec::disabled::drop_from_template(new);
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn delete_warning(&self) -> Option<&'static str> {
        Some(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
        )
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_job(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        errors.extend(crate::meta::validate_object_meta_update(
            new,
            old,
            &Path::new("metadata"),
        ));
        validate_change(&mut errors, new, old);
        errors
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        job_status::validate(new, old)
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let succeeded = object
            .object("status")
            .and_then(|s| s.int("succeeded"))
            .unwrap_or(0);
        vec![("status.successful", succeeded.to_string())]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(
            field,
            "metadata.name" | "metadata.namespace" | "status.successful"
        )
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        let template = |o: &Object| o.object("spec").and_then(|s| s.object("template")).cloned();
        let path = Path::new("spec").child("template");
        let old = old.and_then(template);
        pod_spec::warnings::of_template(&path, template(new).as_ref(), old.as_ref())
    }
}

/// A Job without labels bears those of its pods.
fn own_labels(job: &mut Object) {
    let labels = job
        .object("spec")
        .and_then(|s| s.object("template"))
        .and_then(|t| t.object("metadata"))
        .and_then(|m| m.object("labels"))
        .filter(|l| !l.is_empty())
        .cloned();
    if let Some(labels) = labels {
        let metadata = job.ensure_object("metadata");
        if metadata.object("labels").is_none_or(Object::is_empty) {
            metadata.set("labels", labels);
        }
    }
}

/// The labels by which a Job knows its pods, with the unprefixed ones that older clients look for.
fn generate_selector(job: &mut Object) {
    let (uid, name) = (meta::uid(job).to_owned(), meta::name(job).to_owned());
    let spec = job.ensure_object("spec");
    let labels = spec
        .ensure_object("template")
        .ensure_object("metadata")
        .ensure_object("labels");
    for prefix in ["", "batch.kubernetes.io/"] {
        labels.set_default(&format!("{prefix}controller-uid"), uid.as_str());
        labels.set_default(&format!("{prefix}job-name"), name.as_str());
    }
    let selector = spec.ensure_object("selector").ensure_object("matchLabels");
    selector.set_default("batch.kubernetes.io/controller-uid", uid);
}

fn validate_job(errors: &mut ErrorList, job: &Object) {
    let empty = Object::new();
    let spec = job.object("spec").unwrap_or(&empty);
    if !spec.is_true("manualSelector") {
        generated_selector(errors, job, spec);
    }
    selected_job_spec(errors, &Path::new("spec"), spec);
}

/// The spec, and that its selector selects its pods.
fn selected_job_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
    job_spec(errors, path, spec);
    match spec.object("selector") {
        None => errors.push(FieldError::required(&path.child("selector"), "")),
        Some(selector) => selectors::label_selector(errors, &path.child("selector"), selector),
    }
    let labels = spec
        .object("template")
        .and_then(|t| t.object("metadata"))
        .and_then(|m| m.object("labels"));
    let met = spec
        .object("selector")
        .is_some_and(|s| selectors::matches(s, labels));
    if !met {
        errors.push(selectors::mismatch(path, labels));
    }
}

/// The selector and labels that the server makes are as it makes them.
fn generated_selector(errors: &mut ErrorList, job: &Object, spec: &Object) {
    let uid = meta::uid(job);
    let Some(selector) = spec.object("selector") else {
        return;
    };
    if uid.is_empty() {
        return;
    }
    let path = Path::new("spec");
    let empty = Object::new();
    let labels = spec
        .object("template")
        .and_then(|t| t.object("metadata"))
        .and_then(|m| m.object("labels"))
        .unwrap_or(&empty);
    let at = path.child("template").child("metadata").child("labels");
    let expected = [
        ("controller-uid", uid),
        ("job-name", meta::name(job)),
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", meta::name(job)),
    ];
    for (key, value) in expected {
        if !labels.has(key) {
            errors.push(FieldError::required(
                &at.key(key),
                format!("must be '{value}'"),
            ));
        } else if labels.text(key) != value {
            errors.push(FieldError::invalid(
                &at.key(key),
                Value::Object(labels.clone()),
                format!("must be '{value}'"),
            ));
        }
    }
    let expected: Object = expected
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    if !selectors::matches(selector, Some(&expected)) {
        errors.push(FieldError::invalid(
            &path.child("selector"),
            Value::Object(selector.clone()),
            "`selector` not auto-generated",
        ));
    }
}

/// The rules of a Job's spec, also of that in a CronJob.
pub fn job_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
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
        ],
    );
    let mode = spec.text("completionMode");
    let indexed = mode == "Indexed";
    if !mode.is_empty() {
        one_of(
            errors,
            &path.child("completionMode"),
            mode,
            &["NonIndexed", "Indexed"],
        );
    }
    if indexed && !spec.has("completions") {
        errors.push(FieldError::required(
            &path.child("completions"),
            "when completion mode is Indexed",
        ));
    }
    if let Some(limit) = spec.int("backoffLimitPerIndex") {
        let at = path.child("backoffLimitPerIndex");
        if !indexed {
            errors.push(FieldError::invalid(
                &at,
                limit,
                "requires indexed completion mode",
            ));
        }
        non_negative(errors, &at, Some(limit));
    }
    if let Some(max) = spec.int("maxFailedIndexes") {
        let at = path.child("maxFailedIndexes");
        if !spec.has("backoffLimitPerIndex") {
            errors.push(FieldError::required(
                &path.child("backoffLimitPerIndex"),
                "when maxFailedIndexes is specified",
            ));
        }
        non_negative(errors, &at, Some(max));
    }
    if let Some(policy) = spec.object("successPolicy") {
        let at = path.child("successPolicy");
        if !indexed {
            let rules: Vec<String> = policy
                .objects("rules")
                .map(|(_, r)| {
                    let shown = |f: &str| r.value(f).map_or("null".to_owned(), Value::to_string);
                    format!(
                        "{{\"SucceededIndexes\":{},\"SucceededCount\":{}}}",
                        shown("succeededIndexes"),
                        shown("succeededCount")
                    )
                })
                .collect();
            errors.push(invalid_shown(
                &at,
                &format!("{{\"Rules\":[{}]}}", rules.join(",")),
                "requires indexed completion mode",
            ));
        } else {
            success_rules(
                errors,
                &at.child("rules"),
                policy,
                spec.int("completions").unwrap_or(0),
            );
        }
    }
    if let Some(manager) = spec.text_opt("managedBy") {
        let at = path.child("managedBy");
        domain_prefixed_path(errors, &at, manager);
        if manager.len() > 63 {
            errors.push(FieldError::too_long(&at, 63));
        }
    }
    let template = path.child("template");
    pod_spec::validate_template(errors, &template, spec.object("template"));
    let policy = spec
        .object("template")
        .and_then(|t| t.object("spec"))
        .map_or("", |s| s.text("restartPolicy"));
    let at = template.child("spec").child("restartPolicy");
    match policy {
        "OnFailure" | "Never" => {
            if policy == "OnFailure" && spec.has("podFailurePolicy") {
                errors.push(FieldError::invalid(
                    &at,
                    policy,
                    "only \"Never\" is supported when podFailurePolicy is specified",
                ));
            }
        }
        "Always" | "" => errors.push(FieldError::required(
            &at,
            "valid values: \"OnFailure\", \"Never\"",
        )),
        other => errors.push(FieldError::not_supported(
            &at,
            other,
            &["OnFailure", "Never"],
        )),
    }
}

fn success_rules(errors: &mut ErrorList, path: &Path, policy: &Object, completions: i64) {
    if policy.list("rules").is_empty() {
        errors.push(FieldError::required(
            path,
            "at least one rules must be specified when the successPolicy is specified",
        ));
    }
    for (index, rule) in policy.objects("rules") {
        let at = path.index(index);
        if !rule.has("succeededIndexes") && !rule.has("succeededCount") {
            errors.push(FieldError::required(
                &at,
                "at least one of succeededCount or succeededIndexes must be specified",
            ));
        }
        if let Some(indexes) = rule.text_opt("succeededIndexes")
            && let Err(complaint) = parse_indexes(indexes, completions)
        {
            errors.push(FieldError::invalid(
                &at.child("succeededIndexes"),
                indexes,
                format!("error parsing succeededIndexes: {complaint}"),
            ));
        }
        if let Some(count) = rule.int("succeededCount") {
            non_negative(errors, &at.child("succeededCount"), Some(count));
            if count > completions {
                errors.push(FieldError::invalid(
                    &at.child("succeededCount"),
                    count,
                    format!("must be less than or equal to {completions} (the number of specified completions)"),
                ));
            }
        }
    }
}

/// `0,2-4`: rising, and below the number of completions.
fn parse_indexes(indexes: &str, completions: i64) -> Result<(), String> {
    let mut last = -1;
    for part in indexes.split(',') {
        let mut ends = part.split('-');
        for _ in 0..2 {
            let Some(end) = ends.next() else { break };
            let number: i64 = end
                .parse()
                .map_err(|_| format!("cannot convert string to integer for index: {end:?}"))?;
            if number >= completions {
                return Err(format!("too large index: {end:?}"));
            }
            if number <= last {
                return Err(format!(
                    "non-increasing order, previous: {last}, current: {number}"
                ));
            }
            last = number;
        }
        if ends.next().is_some() {
            return Err(format!(
                "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
            ));
        }
    }
    Ok(())
}

/// Of a Job that runs, most is fixed; while it is suspended and has not begun, where its pods go may change.
fn validate_change(errors: &mut ErrorList, new: &Object, old: &Object) {
    let empty = Object::new();
    let (after, before) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    let path = Path::new("spec");
    selected_job_spec(errors, &path, after);
    let mut fixed = |field: &str| {
        errors.extend(crate::meta::validate_immutable_field(
            after, before, field, &path,
        ));
    };
    // An indexed Job may be resized together with its parallelism.
    if after.text("completionMode") != "Indexed" {
        fixed("completions");
    } else if after.int("completions") != before.int("completions")
        && after.int("completions") != after.int("parallelism")
    {
        errors.push(FieldError::invalid(
            &path.child("completions"),
            after.get("completions").cloned().unwrap_or(Value::Null),
            format!(
                "can only be modified in tandem with {}",
                path.child("parallelism")
            ),
        ));
    }
    let mut fixed = |field: &str| {
        errors.extend(crate::meta::validate_immutable_field(
            after, before, field, &path,
        ));
    };
    fixed("selector");
    let begun = old.object("status").is_some_and(|s| s.has("startTime"));
    let open = before.is_true("suspend") && !begun;
    let template = |spec: &Object| {
        let mut template = spec.object("template").cloned().unwrap_or_default();
        if open {
            if let Some(metadata) = template.object_mut("metadata") {
                metadata.remove("labels");
                metadata.remove("annotations");
            }
            if let Some(pod) = template.object_mut("spec") {
                for field in ["affinity", "nodeSelector", "tolerations", "schedulingGates"] {
                    pod.remove(field);
                }
                for list in ["containers", "initContainers"] {
                    pod.each_object(list, |c| {
                        c.remove("resources");
                    });
                }
            }
        }
        Value::Object(template)
    };
    if !crate::fields::same(Some(&template(after)), Some(&template(before))) {
        let template = after.object("template");
        let (at, shown) = if open {
            let spec = template.and_then(|t| t.get("spec"));
            (
                path.child("template").child("spec"),
                internal::shown("io.k8s.api.core.v1.PodSpec", spec),
            )
        } else {
            (
                path.child("template"),
                internal::shown("io.k8s.api.core.v1.PodTemplateSpec", after.get("template")),
            )
        };
        errors.push(invalid_shown(&at, &shown, "field is immutable"));
    }
    for field in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        errors.extend(crate::meta::validate_immutable_field(
            after, before, field, &path,
        ));
    }
}
