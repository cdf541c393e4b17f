//! `v1` LimitRange.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "limitranges"),
    gvk: GroupVersionKind::new("", "v1", "LimitRange"),
    singular: "limitrange",
    scope: Scope::Namespaced,
    short_names: &["limits"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("limitranges")),
    strategy: &LimitRangeStrategy,
};

#[derive(Debug)]
struct LimitRangeStrategy;

impl Strategy for LimitRangeStrategy {}
