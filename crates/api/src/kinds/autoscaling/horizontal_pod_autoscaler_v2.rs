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
    lifecycle, names,
    validate::{one_of, required_text, text},
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
        validate(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}

fn default(spec: &mut Object) {
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
    if up.list("policies").is_empty() {
        up.set(
            "policies",
            json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
    let down = behavior.ensure_object("scaleDown");
    down.set_default("selectPolicy", "Max");
    if down.list("policies").is_empty() {
        down.set(
            "policies",
            json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]),
        );
    }
}

/// The rules of an autoscaler, whichever version it came in.
pub fn validate(errors: &mut ErrorList, object: &Object) {
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
    let max = spec.int("maxReplicas").unwrap_or(0);
    if max < 1 {
        errors.push(FieldError::invalid(
            &path.child("maxReplicas"),
            max,
            "must be greater than 0",
        ));
    }
    if min.is_some_and(|min| max < min) {
        errors.push(FieldError::invalid(
            &path.child("maxReplicas"),
            max,
            "must be greater than or equal to `minReplicas`",
        ));
    }
    let target = spec.object("scaleTargetRef").unwrap_or(&empty);
    let at = path.child("scaleTargetRef");
    for field in ["kind", "name"] {
        required_text(
            errors,
            &at.child(field),
            target.text(field),
            names::path_segment_name,
        );
    }
    for (index, metric) in spec.objects("metrics") {
        metric_spec(errors, &path.child("metrics").index(index), metric);
    }
    if let Some(behavior) = spec.object("behavior") {
        for direction in ["scaleUp", "scaleDown"] {
            if let Some(rules) = behavior.object(direction) {
                scaling_rules(errors, &path.child("behavior").child(direction), rules);
            }
        }
    }
}

const SOURCES: &[(&str, &str)] = &[
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

fn metric_spec(errors: &mut ErrorList, path: &Path, metric: &Object) {
    let kind = metric.text("type");
    let supported: Vec<&str> = SOURCES.iter().map(|(kind, _)| *kind).collect();
    let Some((_, field)) = SOURCES.iter().find(|(k, _)| *k == kind) else {
        let at = path.child("type");
        if kind.is_empty() {
            errors.push(FieldError::required(
                &at,
                "must specify a metric source type",
            ));
        }
        // Upstream says it twice: once for the type, once for the source that it cannot find.
        one_of(errors, &at, kind, &supported);
        one_of(errors, &at, kind, &supported);
        return;
    };
    for (_, other) in SOURCES.iter().filter(|(k, f)| *k != kind && metric.has(f)) {
        errors.push(FieldError::forbidden(
            &path.child(other),
            "must populate the given metric source only",
        ));
    }
    let at = path.child(field);
    let Some(source) = metric.object(field) else {
        errors.push(FieldError::required(
            &at,
            "must populate information for the given metric source",
        ));
        return;
    };
    let empty = Object::new();
    let target = source.object("target").unwrap_or(&empty);
    let goal = at.child("target");
    if matches!(kind, "Resource" | "ContainerResource") {
        if source.text("name").is_empty() {
            errors.push(FieldError::required(
                &at.child("name"),
                "must specify a resource name",
            ));
        }
    } else {
        let name = source.object("metric").map_or("", |m| m.text("name"));
        let name_path = at.child("metric").child("name");
        if name.is_empty() {
            errors.push(FieldError::required(
                &name_path,
                "must specify a metric name",
            ));
        } else {
            text(errors, &name_path, name, names::path_segment_name(name));
        }
    }
    metric_target(errors, &goal, target);
    let (value, average, utilization) = (
        target.has("value"),
        target.has("averageValue"),
        target.has("averageUtilization"),
    );
    match kind {
        "Resource" | "ContainerResource" => {
            if !utilization && !average {
                errors.push(FieldError::required(
                    &goal.child("averageUtilization"),
                    "must set either a target raw value or a target utilization",
                ));
            }
            if utilization && average {
                errors.push(FieldError::forbidden(
                    &goal.child("averageValue"),
                    "may not set both a target raw value and a target utilization",
                ));
            }
        }
        "Pods" if !average => errors.push(FieldError::required(
            &goal.child("averageValue"),
            "must specify a positive target averageValue",
        )),
        "External" | "Object" => {
            if !value && !average {
                errors.push(FieldError::required(
                    &goal.child("averageValue"),
                    if kind == "External" {
                        "must set either a target value for metric or a per-pod target"
                    } else {
                        "must set either a target value or averageValue"
                    },
                ));
            }
            if kind == "External" && value && average {
                errors.push(FieldError::forbidden(
                    &goal.child("value"),
                    "may not set both a target value for metric and a per-pod target",
                ));
            }
        }
        _ => {}
    }
}

fn metric_target(errors: &mut ErrorList, path: &Path, target: &Object) {
    match target.text("type") {
        "Utilization" | "Value" | "AverageValue" => {}
        "" => errors.push(FieldError::required(
            &path.child("type"),
            "must specify a metric target type",
        )),
        other => errors.push(FieldError::invalid(
            &path.child("type"),
            other,
            "must be either Utilization, Value, or AverageValue",
        )),
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
}
