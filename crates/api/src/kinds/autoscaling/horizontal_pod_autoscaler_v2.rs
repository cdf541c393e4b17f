//! `autoscaling/v2` HorizontalPodAutoscaler.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

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

impl Strategy for HorizontalPodAutoscalerStrategy {}
