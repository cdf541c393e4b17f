//! `v1` ComponentStatus: the health of parts of the control plane, made up when asked for. Deprecated, read-only.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "componentstatuses"),
    gvk: GroupVersionKind::new("", "v1", "ComponentStatus"),
    singular: "componentstatus",
    scope: Scope::Cluster,
    short_names: &["cs"],
    categories: &[],
    verbs: &["get", "list"],
    subresources: &[],
    storage: None,
    strategy: &ComponentStatusStrategy,
};

#[derive(Debug)]
struct ComponentStatusStrategy;

impl Strategy for ComponentStatusStrategy {
    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 ComponentStatus is deprecated in v1.19+")
    }
}
