//! `storage.k8s.io/v1` VolumeAttachment: a volume that is to be attached to a node.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::{Fields, same_field},
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
    validate::{anything, invalid_shown, required_text},
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
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        required_text(
            &mut errors,
            &path.child("attacher"),
            spec.text("attacher"),
            anything,
        );
        let source = spec.object("source").unwrap_or(&empty);
        if source.text("persistentVolumeName").is_empty() && !source.has("inlineVolumeSpec") {
            errors.push(FieldError::required(
                &path.child("source"),
                "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
            ));
        }
        required_text(
            &mut errors,
            &path.child("nodeName"),
            spec.text("nodeName"),
            anything,
        );
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        if !same_field(new, old, "spec") {
            let empty = Object::new();
            let spec = new.object("spec").unwrap_or(&empty);
            let source = spec.object("source").unwrap_or(&empty);
            let shown =
                |v: Option<&serde_json::Value>| v.map_or("null".to_owned(), |v| v.to_string());
            errors.push(invalid_shown(
                &Path::new("spec"),
                &format!(
                    "{{\"Attacher\":{:?},\"Source\":{{\"PersistentVolumeName\":{},\"InlineVolumeSpec\":{}}},\"NodeName\":{:?}}}",
                    spec.text("attacher"),
                    shown(source.get("persistentVolumeName")),
                    shown(source.get("inlineVolumeSpec")),
                    spec.text("nodeName")
                ),
                "field is immutable",
            ));
        }
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
}
