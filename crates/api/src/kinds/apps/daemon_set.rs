//! `apps/v1` DaemonSet: a pod on each node.

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
    kinds::{
        apps::deployment::not_decremented,
        core::pod_spec::{self, defaults, template},
    },
    lifecycle,
    validate::{
        int_or_percent, is_zero, non_negative, non_negatives, not_more_than_100_percent, selectors,
        shown_as,
    },
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "daemonsets"),
    gvk: GroupVersionKind::new("apps", "v1", "DaemonSet"),
    singular: "daemonset",
    scope: Scope::Namespaced,
    short_names: &["ds"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apps",
        "v1",
        "DaemonSet",
    ))],
    storage: Some(Storage::plain("daemonsets")),
    strategy: &DaemonSetStrategy,
};

#[derive(Debug)]
struct DaemonSetStrategy;

impl Strategy for DaemonSetStrategy {
    fn default(&self, object: &mut Object) {
        template_generation(object);
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        let strategy = spec.ensure_object("updateStrategy");
        strategy.set_default_zero("type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate" {
            let rolling = strategy.ensure_object("rollingUpdate");
            rolling.set_default("maxUnavailable", 1);
            rolling.set_default("maxSurge", 0);
        }
        spec.set_default("revisionHistoryLimit", 10);
        lifecycle::zeroes(
            object.ensure_object("status"),
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
            ],
        );
    }
    fn annotations_of_version(&self) -> &'static [&'static str] {
        &[TEMPLATE_GENERATION]
    }
    fn prepare_for_create(&self, object: &mut Object) {
        pod_spec::disabled::drop_from_template(object);
        object.remove("status");
        lifecycle::zeroes(
            object.ensure_object("status"),
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
            ],
        );
        lifecycle::first_generation(object);
        if generation_of_template(object) < 1 {
            set_generation_of_template(object, 1);
        }
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        pod_spec::disabled::drop_from_template(new);
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
        let spec = |object: &Object| {
            object
                .object("spec")
                .and_then(|s| s.get("template"))
                .cloned()
        };
        let ty = "io.k8s.api.core.v1.PodTemplateSpec";
        let changed = !internal::same(ty, spec(new).as_ref(), spec(old).as_ref());
        set_generation_of_template(new, generation_of_template(old) + i64::from(changed));
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        set_generation_of_template(new, generation_of_template(old));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors: ErrorList = selectors::immutable(new, old).into_iter().collect();
        errors.extend(self.validate(new));
        errors
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let path = Path::new("status");
        let status = new.object("status").unwrap_or(&empty);
        non_negatives(
            &mut errors,
            &path,
            status,
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
                "observedGeneration",
                "updatedNumberScheduled",
                "numberAvailable",
                "numberUnavailable",
                "collisionCount",
            ],
        );
        let before = old.object("status").unwrap_or(&empty);
        errors.extend(not_decremented(&path, status, before));
        errors
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some_and(|old| generation_of_template(old) == generation_of_template(new)) {
            return Vec::new();
        }
        let template = |o: &Object| o.object("spec").and_then(|s| s.object("template")).cloned();
        let path = Path::new("spec").child("template");
        let old = old.and_then(template);
        pod_spec::warnings::of_template(&path, template(new).as_ref(), old.as_ref())
    }
}

/// Counts the templates that a DaemonSet has had. A field of upstream's internal type, and an annotation on the wire: there
/// whenever the object is.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(object: &mut Object) {
    let generation = generation_of_template(object);
    set_generation_of_template(object, generation);
}

fn generation_of_template(object: &Object) -> i64 {
    meta::annotation(object, TEMPLATE_GENERATION)
        .and_then(|generation| generation.parse().ok())
        .unwrap_or(0)
}

fn set_generation_of_template(object: &mut Object, generation: i64) {
    meta::set_annotation(object, TEMPLATE_GENERATION, Some(&generation.to_string()));
}

/// The rules of `spec`.
fn validate_spec(errors: &mut ErrorList, object: &Object) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let at = path.child("selector");
    let selector = spec.object("selector");
    let before = errors.len();
    if let Some(selector) = selector {
        selectors::label_selector(errors, &at, selector);
    }
    if errors.len() == before {
        selectors::template_matches(errors, &path, spec);
    }
    if selector.is_some_and(selectors::is_empty) {
        let detail = "empty selector is invalid for daemonset";
        errors.push(selectors::invalid(&at, selector, detail));
    }
    let (at, pods) = (path.child("template"), spec.object("template"));
    template::validate_template(errors, &at, pods);
    template::runs_forever(errors, &at, pods, "DaemonSet");
    non_negative(
        errors,
        &path.child("minReadySeconds"),
        spec.int("minReadySeconds"),
    );
    let strategy = spec.object("updateStrategy").unwrap_or(&empty);
    update_strategy(errors, &path.child("updateStrategy"), strategy);
    non_negative(
        errors,
        &path.child("revisionHistoryLimit"),
        spec.int("revisionHistoryLimit"),
    );
}

fn update_strategy(errors: &mut ErrorList, path: &Path, strategy: &Object) {
    let at = path.child("rollingUpdate");
    match (strategy.text("type"), strategy.object("rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => errors.push(FieldError::required(&at, "")),
        ("RollingUpdate", Some(rolling)) => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            let both = [("maxUnavailable", unavailable), ("maxSurge", surge)];
            for rule in [int_or_percent, not_more_than_100_percent] {
                for (field, value) in both {
                    if let Some(value) = value {
                        rule(errors, &at.child(field), value);
                    }
                }
            }
            match (is_zero(unavailable), is_zero(surge)) {
                (true, true) => errors.push(FieldError::required(
                    &at.child("maxUnavailable"),
                    "cannot be 0 when maxSurge is 0",
                )),
                (false, false) => errors.push(FieldError::invalid(
                    &at.child("maxSurge"),
                    surge.cloned().unwrap_or(Value::Null),
                    "may not be set when maxUnavailable is non-zero",
                )),
                _ => {}
            }
        }
        (_, _) => errors.push(shown_as(
            ErrorType::NotSupported,
            path,
            &internal::shown(
                "io.k8s.api.apps.v1.DaemonSetUpdateStrategy",
                Some(&Value::Object(strategy.clone())),
            ),
            "supported values: \"RollingUpdate\", \"OnDelete\"",
        )),
    }
}
