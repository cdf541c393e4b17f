//! `v1` Event.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "events"),
    gvk: GroupVersionKind::new("", "v1", "Event"),
    singular: "event",
    scope: Scope::Namespaced,
    short_names: &["ev"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("events")),
    strategy: &EventStrategy,
};

#[derive(Debug)]
struct EventStrategy;

impl Strategy for EventStrategy {}
