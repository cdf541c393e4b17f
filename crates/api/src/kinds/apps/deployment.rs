//! `apps/v1` Deployment: pods that roll from one template to the next.

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::{self, defaults, template},
    lifecycle,
    validate::{
        int_or_percent, is_zero, non_negative, non_negatives, not_more_than_100_percent, selectors,
        shown_as,
    },
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "deployments"),
    gvk: GroupVersionKind::new("apps", "v1", "Deployment"),
    singular: "deployment",
    scope: Scope::Namespaced,
    short_names: &["deploy"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "Deployment")),
    ],
    storage: Some(Storage::plain("deployments")),
    strategy: &DeploymentStrategy,
};

#[derive(Debug)]
struct DeploymentStrategy;

impl Strategy for DeploymentStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        spec.set_default("replicas", 1);
        let strategy = spec.ensure_object("strategy");
        strategy.set_default_zero("type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate" {
            let rolling = strategy.ensure_object("rollingUpdate");
            rolling.set_default("maxUnavailable", "25%");
            rolling.set_default("maxSurge", "25%");
        }
        spec.set_default("revisionHistoryLimit", 10);
        spec.set_default("progressDeadlineSeconds", 600);
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        pod_spec::disabled::drop_from_template(object);
        object.remove("status");
        object.ensure_object("status");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        pod_spec::disabled::drop_from_template(new);
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
        // The revision and rollback annotations are part of what a Deployment asks for.
        let annotated = |object| meta::annotations(object).filter(|a| !a.is_empty());
        if meta::generation(new) == meta::generation(old) && annotated(new) != annotated(old) {
            meta::set_generation(new, meta::generation(old) + 1);
        }
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_metadata(new, old, &["labels"]);
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["spec", "metadata.labels"]
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        errors.extend(selectors::immutable(new, old));
        errors
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_status(&mut errors, new, old);
        errors
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        pod_spec::warnings::of_workload(new, old)
    }
}

/// The rules of `spec`.
fn validate_spec(errors: &mut ErrorList, object: &Object) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    non_negative(errors, &path.child("replicas"), spec.int("replicas"));
    template::validate_replicated(errors, &path, spec);
    strategy(errors, &path.child("strategy"), spec);
    non_negatives(
        errors,
        &path,
        spec,
        &["minReadySeconds", "revisionHistoryLimit"],
    );
    if let Some(deadline) = spec.int("progressDeadlineSeconds") {
        let at = path.child("progressDeadlineSeconds");
        non_negative(errors, &at, Some(deadline));
        if deadline <= spec.int("minReadySeconds").unwrap_or(0) {
            errors.push(FieldError::invalid(
                &at,
                deadline,
                "must be greater than minReadySeconds",
            ));
        }
    }
}

fn strategy(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let empty = Object::new();
    let strategy = spec.object("strategy").unwrap_or(&empty);
    let at = path.child("rollingUpdate");
    match (strategy.text("type"), strategy.object("rollingUpdate")) {
        ("Recreate", Some(_)) => errors.push(FieldError::forbidden(
            &at,
            "may not be specified when strategy `type` is 'Recreate'",
        )),
        ("Recreate", None) => {}
        ("RollingUpdate", None) => errors.push(FieldError::required(
            &at,
            "this should be defaulted and never be nil",
        )),
        ("RollingUpdate", Some(rolling)) => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            for (field, value) in [("maxUnavailable", unavailable), ("maxSurge", surge)] {
                if let Some(value) = value {
                    int_or_percent(errors, &at.child(field), value);
                }
            }
            if is_zero(unavailable) && is_zero(surge) {
                errors.push(FieldError::invalid(
                    &at.child("maxUnavailable"),
                    unavailable.cloned().unwrap_or(Value::Null),
                    "may not be 0 when `maxSurge` is 0",
                ));
            }
            if let Some(value) = unavailable {
                not_more_than_100_percent(errors, &at.child("maxUnavailable"), value);
            }
        }
        (_, _) => errors.push(shown_as(
            ErrorType::NotSupported,
            path,
            &internal::shown(
                "io.k8s.api.apps.v1.DeploymentStrategy",
                spec.get("strategy"),
            ),
            "supported values: \"Recreate\", \"RollingUpdate\"",
        )),
    }
}

fn validate_status(errors: &mut ErrorList, new: &Object, old: &Object) {
    let empty = Object::new();
    let path = Path::new("status");
    let status = new.object("status").unwrap_or(&empty);
    let before = old.object("status").unwrap_or(&empty);
    const COUNTS: &[&str] = &[
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    non_negatives(errors, &path, status, COUNTS);
    let count = |field| status.int(field).unwrap_or(0);
    for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
        if count(field) > count("replicas") {
            errors.push(FieldError::invalid(
                &path.child(field),
                count(field),
                "cannot be greater than status.replicas",
            ));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        errors.push(FieldError::invalid(
            &path.child("availableReplicas"),
            count("availableReplicas"),
            "cannot be greater than readyReplicas",
        ));
    }
    errors.extend(not_decremented(&path, status, before));
}

/// The count of collisions of names never sinks, nor goes.
pub fn not_decremented(path: &Path, status: &Object, before: &Object) -> Option<FieldError> {
    let (now, then) = (status.int("collisionCount"), before.int("collisionCount"));
    let sank = then.is_some_and(|then| now.is_none_or(|now| now < then));
    sank.then(|| {
        FieldError::invalid(
            &path.child("collisionCount"),
            now.unwrap_or(0),
            "cannot be decremented",
        )
    })
}
