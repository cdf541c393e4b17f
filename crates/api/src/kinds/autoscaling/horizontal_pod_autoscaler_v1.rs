//! `autoscaling/v1` HorizontalPodAutoscaler: the second version with one metric; the others travel in annotations.

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::{Value, json};

use crate::{
    fields::Fields,
    internal,
    kind::{Hub, Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::autoscaling::horizontal_pod_autoscaler_v2,
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("autoscaling", "v1", "horizontalpodautoscalers"),
    gvk: GroupVersionKind::new("autoscaling", "v1", "HorizontalPodAutoscaler"),
    singular: "horizontalpodautoscaler",
    scope: Scope::Namespaced,
    short_names: &["hpa"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "autoscaling",
        "v1",
        "HorizontalPodAutoscaler",
    ))],
    storage: Some(Storage {
        prefix: "horizontalpodautoscalers",
        hub: Some(Hub {
            gvk: GroupVersionKind::new("autoscaling", "v2", "HorizontalPodAutoscaler"),
            to_hub,
            from_hub,
        }),
    }),
    strategy: &HorizontalPodAutoscalerV1Strategy,
};

#[derive(Debug)]
struct HorizontalPodAutoscalerV1Strategy;

impl Strategy for HorizontalPodAutoscalerV1Strategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec").set_default("minReplicas", 1);
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

    fn annotations_of_version(&self) -> &'static [&'static str] {
        &[METRICS, BEHAVIOR, CURRENT_METRICS, CONDITIONS]
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        horizontal_pod_autoscaler_v2::validate(&mut errors, object, None);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        horizontal_pod_autoscaler_v2::validate(&mut errors, new, Some(old));
        errors
    }
    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        horizontal_pod_autoscaler_v2::validate_status(new)
    }
}

/// Where the first version keeps what it has no field for, as JSON.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

/// The one metric that the first version has a field for.
fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && metric["resource"]["name"] == "cpu"
        && metric["resource"]["target"]["averageUtilization"].is_number()
}

fn to_hub(object: &mut Object) {
    object.set("apiVersion", "autoscaling/v2");
    let mut metrics: Vec<Value> = meta::annotation(object, METRICS)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let behavior: Option<Value> =
        meta::annotation(object, BEHAVIOR).and_then(|text| serde_json::from_str(text).ok());
    meta::set_annotation(object, METRICS, None);
    meta::set_annotation(object, BEHAVIOR, None);
    let spec = object.ensure_object("spec");
    if let Some(percent) = spec
        .remove("targetCPUUtilizationPercentage")
        .filter(Value::is_number)
    {
        metrics.insert(
            0,
            json!({"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": percent}}}),
        );
    }
    if !metrics.is_empty() {
        spec.set("metrics", metrics);
    }
    if let Some(behavior) = behavior {
        spec.set("behavior", behavior);
    }
    let status = object.ensure_object("status");
    status.set_default("desiredReplicas", 0);
    let current = status
        .remove("currentCPUUtilizationPercentage")
        .filter(Value::is_number);
    let current = current.map(|percent| {
        json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}}])
    });
    status.set("currentMetrics", current.unwrap_or(Value::Null));
}

fn from_hub(object: &mut Object) {
    object.set("apiVersion", "autoscaling/v1");
    let spec = object.ensure_object("spec");
    let behavior = spec.remove("behavior").filter(|b| !b.is_null());
    let mut metrics = match spec.remove("metrics") {
        Some(Value::Array(metrics)) => metrics,
        _ => Vec::new(),
    };
    if let Some(at) = metrics.iter().position(is_cpu_utilization) {
        let metric = metrics.remove(at);
        let percent = metric["resource"]["target"]["averageUtilization"].clone();
        spec.set("targetCPUUtilizationPercentage", percent);
    }
    if !metrics.is_empty() {
        meta::set_annotation(object, METRICS, Some(&Value::Array(metrics).to_string()));
    }
    if let Some(behavior) = behavior {
        meta::set_annotation(object, BEHAVIOR, Some(&behavior.to_string()));
    }
    let status = object.ensure_object("status");
    status.set_default("currentReplicas", 0);
    let conditions = status.remove("conditions");
    let current = status.remove("currentMetrics");
    let percent = current
        .as_ref()
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|m| m["type"] == "Resource" && m["resource"]["name"] == "cpu")
        .map(|m| m["resource"]["current"]["averageUtilization"].clone())
        .filter(Value::is_number);
    status.set_or_remove("currentCPUUtilizationPercentage", percent);
    if let Some(Value::Array(metrics)) =
        current.filter(|c| c.as_array().is_some_and(|c| !c.is_empty()))
    {
        let shown = shown_metrics(&metrics);
        meta::set_annotation(object, CURRENT_METRICS, Some(&shown));
    }
    if let Some(conditions) = conditions.filter(|c| c.as_array().is_some_and(|c| !c.is_empty())) {
        let shown = internal::in_order(
            "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition",
            &conditions,
        );
        meta::set_annotation(object, CONDITIONS, Some(&shown));
    }
}

/// Metrics of resources as the first version wrote them: utilization and value side by side. Of other sorts the type is told.
fn shown_metrics(metrics: &[Value]) -> String {
    let shown: Vec<String> = metrics
        .iter()
        .map(|metric| {
            let kind = metric["type"].as_str().unwrap_or_default();
            let source = &metric["resource"];
            if kind != "Resource" {
                return format!("{{\"type\":{kind:?}}}");
            }
            let current = &source["current"];
            let utilization = match &current["averageUtilization"] {
                Value::Null => String::new(),
                percent => format!("\"currentAverageUtilization\":{percent},"),
            };
            let value = current["averageValue"].as_str().unwrap_or("0");
            format!(
                "{{\"type\":\"Resource\",\"resource\":{{\"name\":{},{utilization}\"currentAverageValue\":{value:?}}}}}",
                source["name"]
            )
        })
        .collect();
    format!("[{}]", shown.join(","))
}
