//! `storage.k8s.io/v1` VolumeAttachment.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "volumeattachments"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "VolumeAttachment"),
    singular: "volumeattachment",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "storage.k8s.io",
        "v1",
        "VolumeAttachment",
    ))],
    storage: Some(Storage::plain("volumeattachments")),
    strategy: &VolumeAttachmentStrategy,
};

#[derive(Debug)]
struct VolumeAttachmentStrategy;

impl Strategy for VolumeAttachmentStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec").ensure_object("source");
        object
            .ensure_object("status")
            .set_default("attached", false);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.set("status", json!({"attached": false}));
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_metadata(new, old, &["labels", "annotations", "ownerReferences"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
