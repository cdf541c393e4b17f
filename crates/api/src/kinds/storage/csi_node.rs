//! `storage.k8s.io/v1` CSINode.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "csinodes"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "CSINode"),
    singular: "csinode",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("csinodes")),
    strategy: &CsiNodeStrategy,
};

#[derive(Debug)]
struct CsiNodeStrategy;

impl Strategy for CsiNodeStrategy {
    fn default(&self, object: &mut Object) {
        object
            .ensure_object("spec")
            .set_default("drivers", Value::Null);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
