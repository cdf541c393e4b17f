//! `autoscaling/v2` HorizontalPodAutoscaler: replicas by measure. The version kept.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::{Value, json};

use crate::{
    fields::{Fields, quantity},
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::{autoscaling::conversion, core::pod_spec::resources},
    lifecycle, names,
    validate::{non_negatives, one_of, required_text, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("autoscaling", "v2", "horizontalpodautoscalers"),
    gvk: GroupVersionKind::new("autoscaling", "v2", "HorizontalPodAutoscaler"),
    singular: "horizontalpodautoscaler",
    scope: Scope::Namespaced,
    short_names: &["hpa"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
    ))],
    storage: Some(Storage::plain("horizontalpodautoscalers")),
    strategy: &HorizontalPodAutoscalerStrategy,
};

#[derive(Debug)]
struct HorizontalPodAutoscalerStrategy;

impl Strategy for HorizontalPodAutoscalerStrategy {
    fn default(&self, object: &mut Object) {
        conversion::drop_annotations(object);
        let status = object.ensure_object("status");
        status.set_default("desiredReplicas", 0);
        status.set_default("currentMetrics", Value::Null);
        default(object.ensure_object("spec"));
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.set(
            "status",
            json!({"desiredReplicas": 0, "currentMetrics": null}),
        );
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate(&mut errors, object, None);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate(&mut errors, new, Some(old));
        errors
    }
    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        validate_status(new)
    }
}

/// The rules of the status, likewise.
pub fn validate_status(object: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let status = object.object("status").unwrap_or(&empty);
    let counts = ["currentReplicas", "desiredReplicas"];
    non_negatives(&mut errors, &Path::new("status"), status, &counts);
    errors
}

/// What a spec is filled with.
pub(super) fn default(spec: &mut Object) {
    spec.set_default("minReplicas", 1);
    if spec.list("metrics").is_empty() {
        spec.set(
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
    let Some(behavior) = spec.object_mut("behavior") else {
        return;
    };
    let up = behavior.ensure_object("scaleUp");
    up.set_default("stabilizationWindowSeconds", 0);
    up.set_default("selectPolicy", "Max");
    if !up.has("policies") {
        up.set(
            "policies",
            json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
    let down = behavior.ensure_object("scaleDown");
    down.set_default("selectPolicy", "Max");
    if !down.has("policies") {
        down.set(
            "policies",
            json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
}

/// The rules of an autoscaler, whichever version it came in.
pub fn validate(errors: &mut ErrorList, object: &Object, old: Option<&Object>) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let min = spec.int("minReplicas");
    if let Some(min) = min.filter(|m| *m < 1) {
        errors.push(FieldError::invalid(
            &path.child("minReplicas"),
            min,
            "must be greater than or equal to 1",
        ));
    }
    let at = path.child("maxReplicas");
    let max = spec.int("maxReplicas").unwrap_or(0);
    if max == 0 {
        let detail = "must be set and greater than 0";
        errors.push(FieldError::required(&at, detail));
    } else if max < 0 {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&at, max, detail));
    }
    if min.is_some_and(|min| max < min) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(&at, max, detail));
    }
    let before = old.and_then(|old| old.object("spec"));
    let target = spec.object("scaleTargetRef").unwrap_or(&empty);
    // A version that was taken stays good; a ReplicationController's has no group.
    let judged = match before.and_then(|spec| spec.object("scaleTargetRef")) {
        Some(was) if same_kind(was, target) => Version::Known,
        _ if target.text("kind") == "ReplicationController" => Version::AnyGroup,
        _ => Version::WithGroup,
    };
    reference(errors, &path.child("scaleTargetRef"), target, judged);
    let known = before.is_some_and(|spec| {
        spec.objects("metrics").any(|(_, metric)| {
            let described = metric
                .object("object")
                .and_then(|source| source.object("describedObject"));
            described.is_some_and(|was| version_complaint(was, Version::AnyGroup).is_some())
        })
    });
    let judged = if known {
        Version::Known
    } else {
        Version::AnyGroup
    };
    for (index, metric) in spec.objects("metrics") {
        metric_spec(errors, &path.child("metrics").index(index), metric, judged);
    }
    let outside =
        |(_, metric): (usize, &Object)| matches!(metric.text("type"), "Object" | "External");
    if min == Some(0) && !spec.objects("metrics").any(outside) {
        errors.push(FieldError::forbidden(
            &path.child("metrics"),
            "must specify at least one Object or External metric to support scaling to zero replicas",
        ));
    }
    if let Some(behavior) = spec.object("behavior") {
        for direction in ["scaleUp", "scaleDown"] {
            if let Some(rules) = behavior.object(direction) {
                scaling_rules(errors, &path.child("behavior").child(direction), rules);
            }
        }
    }
}

/// How the version of a reference is judged.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    /// Not at all: it is as it was.
    Known,
    /// It is a version.
    AnyGroup,
    /// It is a version of a group.
    WithGroup,
}

fn same_kind(a: &Object, b: &Object) -> bool {
    ["apiVersion", "kind"]
        .iter()
        .all(|field| a.text(field) == b.text(field))
}

/// A `CrossVersionObjectReference`.
fn reference(errors: &mut ErrorList, path: &Path, target: &Object, judged: Version) {
    for field in ["kind", "name"] {
        let value = target.text(field);
        required_text(errors, &path.child(field), value, names::path_segment_name);
    }
    if let Some(complaint) = version_complaint(target, judged) {
        let version = target.text("apiVersion");
        let at = path.child("apiVersion");
        errors.push(FieldError::invalid(&at, version, complaint));
    }
}

fn version_complaint(target: &Object, judged: Version) -> Option<String> {
    let version = target.text("apiVersion");
    if judged == Version::Known {
        return None;
    }
    match version.split_once('/') {
        Some((_, rest)) if rest.contains('/') => {
            Some(format!("unexpected GroupVersion string: {version}"))
        }
        Some((group, _)) if !group.is_empty() => None,
        _ if judged == Version::AnyGroup => None,
        _ => Some("apiVersion must specify API group".to_owned()),
    }
}

/// Types of metrics and their fields, in the order in which upstream looks for them.
const SOURCES: &[(&str, &str)] = &[
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

/// The types as messages list them.
const TYPES: &[&str] = &[
    "ContainerResource",
    "External",
    "Object",
    "Pods",
    "Resource",
];

/// One metric: of its sources the first is judged, whichever the type says.
fn metric_spec(errors: &mut ErrorList, path: &Path, metric: &Object, judged: Version) {
    let kind = metric.text("type");
    let at = path.child("type");
    if kind.is_empty() {
        let detail = "must specify a metric source type";
        errors.push(FieldError::required(&at, detail));
    }
    one_of(errors, &at, kind, TYPES);
    let mut present: Vec<&str> = SOURCES
        .iter()
        .map(|(_, field)| *field)
        .filter(|field| metric.object(field).is_some())
        .collect();
    if let Some(first) = present.first()
        && let Some(source) = metric.object(first)
    {
        metric_source(errors, &path.child(first), first, source, judged);
    }
    match SOURCES.iter().find(|(k, _)| *k == kind) {
        Some((_, field)) => {
            if !metric.has(field) {
                errors.push(FieldError::required(
                    &path.child(field),
                    "must populate information for the given metric source",
                ));
            }
            if present.len() != 1 {
                present.retain(|present| present != field);
            } else {
                present.clear();
            }
        }
        None => {
            // Said twice: once for the type, once for the source that it does not lead to.
            one_of(errors, &at, kind, TYPES);
            if present.len() == 1 {
                present.clear();
            }
        }
    }
    for other in present {
        errors.push(FieldError::forbidden(
            &path.child(other),
            "must populate the given metric source only",
        ));
    }
}

fn metric_source(
    errors: &mut ErrorList,
    path: &Path,
    field: &str,
    source: &Object,
    judged: Version,
) {
    let empty = Object::new();
    let target = source.object("target").unwrap_or(&empty);
    let goal = path.child("target");
    let name = source.text("name");
    match field {
        "resource" | "containerResource" => {
            let at = path.child("name");
            if name.is_empty() {
                let detail = "must specify a resource name";
                errors.push(FieldError::required(&at, detail));
            } else if field == "containerResource" {
                resources::container_resource_name(errors, &at, name);
            }
            if field == "containerResource" {
                let container = source.text("container");
                let at = path.child("container");
                if container.is_empty() {
                    let detail = "must specify a container";
                    errors.push(FieldError::required(&at, detail));
                } else {
                    text(errors, &at, container, names::dns1123_label(container));
                }
            }
        }
        _ => {
            if field == "object" {
                let described = source.object("describedObject").unwrap_or(&empty);
                reference(errors, &path.child("describedObject"), described, judged);
            }
            let name = source.object("metric").map_or("", |m| m.text("name"));
            let at = path.child("metric").child("name");
            if name.is_empty() {
                errors.push(FieldError::required(&at, "must specify a metric name"));
            } else {
                text(errors, &at, name, names::path_segment_name(name));
            }
        }
    }
    metric_target(errors, &goal, target);
    goal_of(errors, &goal, field, target);
}

/// Which of the ways to say a goal a source takes.
fn goal_of(errors: &mut ErrorList, path: &Path, field: &str, target: &Object) {
    let (value, average, utilization) = (
        target.has("value"),
        target.has("averageValue"),
        target.has("averageUtilization"),
    );
    let (missing, detail) = match field {
        "object" => (
            !value && !average,
            "must set either a target value or averageValue",
        ),
        "external" => (
            !value && !average,
            "must set either a target value for metric or a per-pod target",
        ),
        "pods" => (!average, "must specify a positive target averageValue"),
        _ => (
            !utilization && !average,
            "must set either a target raw value or a target utilization",
        ),
    };
    let of_resource = matches!(field, "resource" | "containerResource");
    if missing {
        let at = path.child(if of_resource {
            "averageUtilization"
        } else {
            "averageValue"
        });
        errors.push(FieldError::required(&at, detail));
    }
    if field == "external" && value && average {
        errors.push(FieldError::forbidden(
            &path.child("value"),
            "may not set both a target value for metric and a per-pod target",
        ));
    }
    if of_resource && utilization && average {
        errors.push(FieldError::forbidden(
            &path.child("averageValue"),
            "may not set both a target raw value and a target utilization",
        ));
    }
}

fn metric_target(errors: &mut ErrorList, path: &Path, target: &Object) {
    match target.text("type") {
        "Utilization" | "Value" | "AverageValue" => {}
        other => {
            let at = path.child("type");
            if other.is_empty() {
                let detail = "must specify a metric target type";
                errors.push(FieldError::required(&at, detail));
            }
            errors.push(FieldError::invalid(
                &at,
                other,
                "must be either Utilization, Value, or AverageValue",
            ));
        }
    }
    for field in ["value", "averageValue"] {
        if let Some(value) = target.value(field)
            && quantity(value).is_some_and(|q| q.sign() <= 0)
        {
            errors.push(FieldError::invalid(
                &path.child(field),
                value.clone(),
                "must be positive",
            ));
        }
    }
    if let Some(percent) = target.int("averageUtilization").filter(|p| *p < 1) {
        errors.push(FieldError::invalid(
            &path.child("averageUtilization"),
            percent,
            "must be greater than 0",
        ));
    }
}

fn scaling_rules(errors: &mut ErrorList, path: &Path, rules: &Object) {
    const MAX_WINDOW_SECONDS: i64 = 3600;
    const MAX_PERIOD_SECONDS: i64 = 1800;
    if let Some(window) = rules.int("stabilizationWindowSeconds") {
        let at = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(
                &at,
                window,
                "must be greater than or equal to zero",
            ));
        }
        if window > MAX_WINDOW_SECONDS {
            errors.push(FieldError::invalid(
                &at,
                window,
                format!("must be less than or equal to {MAX_WINDOW_SECONDS}"),
            ));
        }
    }
    if rules.has("selectPolicy") {
        one_of(
            errors,
            &path.child("selectPolicy"),
            rules.text("selectPolicy"),
            &["Disabled", "Max", "Min"],
        );
    }
    let policies = path.child("policies");
    if rules.list("policies").is_empty() {
        errors.push(FieldError::required(
            &policies,
            "must specify at least one Policy",
        ));
    }
    for (index, policy) in rules.objects("policies") {
        let at = policies.index(index);
        one_of(
            errors,
            &at.child("type"),
            policy.text("type"),
            &["Percent", "Pods"],
        );
        for (field, max) in [("value", i64::MAX), ("periodSeconds", MAX_PERIOD_SECONDS)] {
            let value = policy.int(field).unwrap_or(0);
            if value <= 0 {
                errors.push(FieldError::invalid(
                    &at.child(field),
                    value,
                    "must be greater than zero",
                ));
            }
            if value > max {
                errors.push(FieldError::invalid(
                    &at.child(field),
                    value,
                    format!("must be less than or equal to {max}"),
                ));
            }
        }
    }
    if let Some(tolerance) = rules.value("tolerance")
        && quantity(tolerance).is_some_and(|q| q.sign() < 0)
    {
        errors.push(FieldError::invalid(
            &path.child("tolerance"),
            resources::shown(tolerance),
            "must be greater than or equal to 0",
        ));
    }
}
