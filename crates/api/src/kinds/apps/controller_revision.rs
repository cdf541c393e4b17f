//! `apps/v1` ControllerRevision.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "controllerrevisions"),
    gvk: GroupVersionKind::new("apps", "v1", "ControllerRevision"),
    singular: "controllerrevision",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("controllerrevisions")),
    strategy: &ControllerRevisionStrategy,
};

#[derive(Debug)]
struct ControllerRevisionStrategy;

impl Strategy for ControllerRevisionStrategy {}
