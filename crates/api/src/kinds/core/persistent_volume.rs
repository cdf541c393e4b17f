//! `v1` PersistentVolume.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::defaults,
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "persistentvolumes"),
    gvk: GroupVersionKind::new("", "v1", "PersistentVolume"),
    singular: "persistentvolume",
    scope: Scope::Cluster,
    short_names: &["pv"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "",
        "v1",
        "PersistentVolume",
    ))],
    storage: Some(Storage::plain("persistentvolumes")),
    strategy: &PersistentVolumeStrategy,
};

#[derive(Debug)]
struct PersistentVolumeStrategy;

impl Strategy for PersistentVolumeStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default_zero("persistentVolumeReclaimPolicy", "Retain");
        spec.set_default("volumeMode", "Filesystem");
        defaults::volume_source(spec);
        object
            .ensure_object("status")
            .set_default_zero("phase", "Pending");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        let now = meta::creation_timestamp(object).to_owned();
        object.set(
            "status",
            json!({"phase": "Pending", "lastPhaseTransitionTime": now}),
        );
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "name")
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("name", meta::name(object).to_owned())]
    }
}
