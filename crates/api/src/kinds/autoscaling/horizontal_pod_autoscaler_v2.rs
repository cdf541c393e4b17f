//! `autoscaling/v2` HorizontalPodAutoscaler.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
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
