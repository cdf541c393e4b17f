//! `storage.k8s.io/v1` CSIDriver.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "csidrivers"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "CSIDriver"),
    singular: "csidriver",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("csidrivers")),
    strategy: &CsiDriverStrategy,
};

#[derive(Debug)]
struct CsiDriverStrategy;

impl Strategy for CsiDriverStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default("attachRequired", true);
        spec.set_default("podInfoOnMount", false);
        spec.set_default("storageCapacity", false);
        spec.set_default("fsGroupPolicy", "ReadWriteOnceWithFSType");
        if spec.list("volumeLifecycleModes").is_empty() {
            spec.set("volumeLifecycleModes", json!(["Persistent"]));
        }
        spec.set_default("requiresRepublish", false);
        spec.set_default("seLinuxMount", false);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
