//! `autoscaling/v1` HorizontalPodAutoscaler: the second version with one metric; the others travel in annotations.

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Hub, Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::autoscaling::{conversion, horizontal_pod_autoscaler_v2},
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
            to_hub: conversion::to_v2,
            from_hub: conversion::to_v1,
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
        &[
            conversion::METRICS,
            conversion::BEHAVIOR,
            conversion::CURRENT_METRICS,
            conversion::CONDITIONS,
        ]
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
