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
        batch::{job_spec, job_status},
        core::pod_spec::{self, defaults},
    },
    lifecycle, names,
    validate::{invalid_shown, selectors},
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
    fn shares_labels(&self, sent: &Object) -> bool {
        bears_labels_of_pods(sent)
    }
    fn share_labels(&self, object: &mut Object) {
        take_labels_of_pods(object);
    }
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
        if bears_labels_of_pods(object) {
            take_labels_of_pods(object);
        }
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
        job_spec::default_failure_policy(spec);
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
        if bears_labels_of_pods(object) {
            take_labels_of_pods(object);
        }
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        pod_spec::disabled::drop_from_template(new);
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn orphan_dependents_by_default(&self) -> bool {
        true
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
        validate_job(&mut errors, object, true);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        validate_job(&mut errors, new, has_prefixed_labels(old));
        errors.extend(crate::meta::validate_update(new, old));
        validate_change(&mut errors, new, old);
        errors
    }
    fn status_repeats_metadata_rules(&self) -> bool {
        true
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        job_status::validate(new, old)
    }
    fn unknown_field_label(&self, _served: &GroupVersionKind, field: &str) -> String {
        format!("field label {field:?} not supported for Job")
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
        let unchanged = |old: &Object| meta::generation(new) == meta::generation(old);
        if old.is_some_and(unchanged) {
            return Vec::new();
        }
        let mut warnings: Vec<String> = match old {
            None => pod_spec::warnings::of_name_of_pods(meta::name(new))
                .into_iter()
                .collect(),
            Some(_) => Vec::new(),
        };
        let spec = |job: &Object| job.object("spec").cloned();
        let path = Path::new("spec");
        warnings.extend(job_spec::warnings(
            &path,
            spec(new).as_ref(),
            old.and_then(spec).as_ref(),
        ));
        warnings
    }
}

/// The labels of the pods, when there are any.
fn labels_of_pods(job: &Object) -> Option<&Object> {
    let template = job.object("spec")?.object("template")?;
    let labels = template.object("metadata")?.object("labels")?;
    (!labels.is_empty()).then_some(labels)
}

/// A Job without labels bears those of its pods.
fn bears_labels_of_pods(job: &Object) -> bool {
    let own = job.object("metadata").and_then(|m| m.object("labels"));
    own.is_none_or(Object::is_empty) && labels_of_pods(job).is_some()
}

fn take_labels_of_pods(job: &mut Object) {
    if let Some(labels) = labels_of_pods(job).cloned() {
        job.ensure_object("metadata").set("labels", labels);
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
    for key in ["controller-uid", CONTROLLER_UID] {
        labels.set_default(key, uid.as_str());
    }
    for key in ["job-name", JOB_NAME] {
        labels.set_default(key, name.as_str());
    }
    let selector = spec.ensure_object("selector").ensure_object("matchLabels");
    selector.set_default(CONTROLLER_UID, uid);
}

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";

/// Jobs made before there were labels with a prefix need not get them.
fn has_prefixed_labels(job: &Object) -> bool {
    labels_of_pods(job).is_some_and(|labels| labels.has(CONTROLLER_UID) && labels.has(JOB_NAME))
}

/// `prefixed` says whether the pods must have the labels with a prefix, too.
fn validate_job(errors: &mut ErrorList, job: &Object, prefixed: bool) {
    let empty = Object::new();
    let spec = job.object("spec").unwrap_or(&empty);
    if !spec.is_true("manualSelector") {
        generated_selector(errors, job, spec, prefixed);
    }
    selected_job_spec(errors, &Path::new("spec"), spec);
    let completions = spec.int("completions").unwrap_or(0);
    if spec.text("completionMode") == "Indexed" && completions > 0 {
        let name = meta::name(job);
        let last = format!("{name}-{}", completions - 1);
        if !names::dns1123_label(&last).is_empty() {
            errors.push(FieldError::invalid(
                &Path::new("metadata").child("name"),
                name,
                format!("will not able to create pod with invalid DNS label: {last}"),
            ));
        }
    }
}

/// The spec, and that its selector selects its pods.
fn selected_job_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
    job_spec::validate(errors, path, spec);
    let before = errors.len();
    match spec.object("selector") {
        None => errors.push(FieldError::required(&path.child("selector"), "")),
        Some(selector) => selectors::label_selector(errors, &path.child("selector"), selector),
    }
    if errors.len() == before || !spec.has("selector") {
        selectors::template_matches(errors, path, spec);
    }
}

/// The selector and labels that the server makes are as it makes them.
fn generated_selector(errors: &mut ErrorList, job: &Object, spec: &Object, prefixed: bool) {
    let uid = meta::uid(job);
    let Some(selector) = spec.object("selector") else {
        return;
    };
    if uid.is_empty() {
        let at = Path::new("metadata").child("uid");
        errors.push(FieldError::required(&at, ""));
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
    let mut expected = vec![("controller-uid", uid), ("job-name", meta::name(job))];
    if prefixed {
        expected.push((CONTROLLER_UID, uid));
        expected.push((JOB_NAME, meta::name(job)));
    }
    for (key, value) in expected.iter().copied() {
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
    let sound = {
        let mut complaints = Vec::new();
        selectors::label_selector(&mut complaints, &path, selector);
        complaints.is_empty()
    };
    if sound && !selectors::matches(selector, Some(&expected)) {
        errors.push(selectors::invalid(
            &path.child("selector"),
            Some(selector),
            "`selector` not auto-generated",
        ));
    }
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
    completions(errors, &path.child("completions"), after, before);
    errors.extend(selectors::immutable(new, old));
    template(errors, &path, new, old);
    for (field, ty) in [
        ("completionMode", ""),
        ("podFailurePolicy", "io.k8s.api.batch.v1.PodFailurePolicy"),
        ("backoffLimitPerIndex", ""),
        ("managedBy", ""),
        ("successPolicy", "io.k8s.api.batch.v1.SuccessPolicy"),
    ] {
        let (now, then) = (after.value(field), before.value(field));
        let at = path.child(field);
        if ty.is_empty() {
            if now != then {
                let shown = now.cloned().unwrap_or(Value::Null);
                errors.push(FieldError::invalid(&at, shown, IMMUTABLE));
            }
        } else if now.is_some() != then.is_some() || !internal::same(ty, now, then) {
            let shown = match now {
                Some(_) => internal::shown(ty, now),
                None => "null".to_owned(),
            };
            errors.push(invalid_shown(&at, &shown, IMMUTABLE));
        }
    }
}

const IMMUTABLE: &str = "field is immutable";

/// An indexed Job may be resized together with its parallelism.
fn completions(errors: &mut ErrorList, path: &Path, after: &Object, before: &Object) {
    let (now, then) = (after.int("completions"), before.int("completions"));
    if now == then {
        return;
    }
    let shown = now.map_or(Value::Null, Value::from);
    if after.text("completionMode") != "Indexed" {
        errors.push(FieldError::invalid(path, shown, IMMUTABLE));
    } else if now.is_some() && now != after.int("parallelism") {
        // Upstream's path is that of the root.
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid(path, shown, detail));
    }
}

/// While a Job is suspended and none of its pods is left, what they ask for may change, and where they go.
fn template(errors: &mut ErrorList, path: &Path, new: &Object, old: &Object) {
    const TEMPLATE: &str = "io.k8s.api.core.v1.PodTemplateSpec";
    const POD: &str = "io.k8s.api.core.v1.PodSpec";
    let of = |job: &Object| -> Object {
        let template = job.object("spec").and_then(|spec| spec.object("template"));
        template.cloned().unwrap_or_default()
    };
    let (after, mut before) = (of(new), of(old));
    let open = may_change_template(old);
    if open {
        take_directives(&after, &mut before);
        let (after, mut before) = (pod_of(&after), pod_of(&before));
        take_resources(&after, &mut before);
        let (after, before) = (Value::Object(after), Value::Object(before));
        if !internal::same(POD, Some(&after), Some(&before)) {
            let at = path.child("template.spec");
            let shown = internal::shown(POD, Some(&after));
            errors.push(invalid_shown(&at, &shown, IMMUTABLE));
        }
        return;
    }
    let (after, before) = (Value::Object(after), Value::Object(before));
    if !internal::same(TEMPLATE, Some(&after), Some(&before)) {
        let shown = internal::shown(TEMPLATE, Some(&after));
        errors.push(invalid_shown(&path.child("template"), &shown, IMMUTABLE));
    }
}

fn pod_of(template: &Object) -> Object {
    template.object("spec").cloned().unwrap_or_default()
}

fn may_change_template(job: &Object) -> bool {
    let empty = Object::new();
    let status = job.object("status").unwrap_or(&empty);
    let suspended = job.object("spec").is_some_and(|s| s.is_true("suspend"));
    let idle = !status.has("startTime") || job_status::is(status, "Suspended");
    suspended && idle && status.int("active").unwrap_or(0) == 0
}

/// Where pods go, and what is written on them.
fn take_directives(after: &Object, before: &mut Object) {
    let pod = pod_of(after);
    let metadata = after.object("metadata").cloned().unwrap_or_default();
    let target = before.ensure_object("metadata");
    for field in ["annotations", "labels"] {
        target.set_or_remove(field, metadata.get(field).cloned());
    }
    let target = before.ensure_object("spec");
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        target.set_or_remove(field, pod.get(field).cloned());
    }
    let nodes = pod
        .object("affinity")
        .map(|a| a.get("nodeAffinity").cloned());
    match (nodes, target.object_mut("affinity")) {
        (None, None) => {}
        (None, Some(affinity)) => {
            affinity.remove("nodeAffinity");
            if affinity.is_empty() {
                target.remove("affinity");
            }
        }
        (Some(nodes), _) => target
            .ensure_object("affinity")
            .set_or_remove("nodeAffinity", nodes),
    }
}

/// What containers ask for, as long as they are the same.
fn take_resources(after: &Object, before: &mut Object) {
    for list in ["containers", "initContainers"] {
        if after.list(list).len() != before.list(list).len() {
            continue;
        }
        let mut sources = after.objects(list).map(|(_, container)| container);
        before.each_object(list, |container| {
            if let Some(source) = sources.next()
                && source.text("name") == container.text("name")
            {
                container.set_or_remove("resources", source.get("resources").cloned());
            }
        });
    }
}
