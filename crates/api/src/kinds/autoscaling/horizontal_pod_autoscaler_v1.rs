//! `autoscaling/v1` HorizontalPodAutoscaler.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

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
    storage: Some(Storage::plain("horizontalpodautoscalers")),
    strategy: &HorizontalPodAutoscalerV1Strategy,
};

#[derive(Debug)]
struct HorizontalPodAutoscalerV1Strategy;

impl Strategy for HorizontalPodAutoscalerV1Strategy {}
