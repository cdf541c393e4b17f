//! `batch/v1` Job.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::defaults,
    lifecycle,
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
        let labels = spec
            .object("template")
            .and_then(|t| t.object("metadata"))
            .and_then(|m| m.object("labels"))
            .filter(|l| !l.is_empty())
            .cloned();
        if let Some(labels) = labels
            && object.object("metadata").is_none_or(|m| !m.has("labels"))
        {
            object.ensure_object("metadata").set("labels", labels);
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
        if let Some(policy) = spec.object_mut("podFailurePolicy") {
            policy.each_object("rules", |rule| {
                rule.each_object("onPodConditions", |c| c.set_default_zero("status", "True"));
            });
        }
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        if !object
            .object("spec")
            .is_some_and(|s| s.is_true("manualSelector"))
        {
            generate_selector(object);
        }
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn orphan_dependents_by_default(&self) -> bool {
        false
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
