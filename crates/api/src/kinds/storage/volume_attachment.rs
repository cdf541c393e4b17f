//! `storage.k8s.io/v1` VolumeAttachment: a volume that is to be attached to a node.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::{
        persistent_volume,
        pod_spec::{defaults, volumes},
    },
    lifecycle, names,
    validate::{invalid_shown, text},
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
        let source = object.ensure_object("spec").ensure_object("source");
        if let Some(spec) = source.object_mut("inlineVolumeSpec") {
            defaults::volume_source(spec);
        }
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
        lifecycle::reset_metadata_for_status(new, old);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        validate(object)
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = validate(new);
        if !internal::same_field_of_kind(new, old, "spec") {
            errors.push(invalid_shown(
                &Path::new("spec"),
                &internal::shown(
                    "io.k8s.api.storage.v1.VolumeAttachmentSpec",
                    new.get("spec"),
                ),
                "field is immutable",
            ));
        }
        errors
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        errors.extend(self.validate_update(new, old));
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
}

fn validate(object: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    volumes::csi_driver_name(&mut errors, &path.child("attacher"), spec.text("attacher"));
    let source = spec.object("source").unwrap_or(&empty);
    let at = path.child("source");
    let name = source.text_opt("persistentVolumeName");
    let one = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (name, source.has("inlineVolumeSpec")) {
        (None, false) => errors.push(FieldError::required(&at, one)),
        (Some(_), true) => errors.push(FieldError::forbidden(&at, one)),
        (Some(""), false) => errors.push(FieldError::required(
            &at.child("persistentVolumeName"),
            "must specify non empty persistentVolumeName",
        )),
        (None, true) => {
            if let Some(spec) = source.object("inlineVolumeSpec") {
                let at = at.child("inlineVolumeSpec");
                persistent_volume::validate_inline_spec(&mut errors, &at, spec);
            }
        }
        _ => {}
    }
    let node = spec.text("nodeName");
    let rule = names::dns1123_subdomain(node);
    text(&mut errors, &path.child("nodeName"), node, rule);
    validate_status(&mut errors, object.object("status").unwrap_or(&empty));
    if let Some(name) = name {
        let at = at.child("persistentVolumeName");
        text(&mut errors, &at, name, names::dns1123_subdomain(name));
    }
    errors
}

fn validate_status(errors: &mut ErrorList, status: &Object) {
    const MAX_METADATA_BYTES: usize = 256 * 1024;
    const MAX_MESSAGE_BYTES: usize = 1024;
    let path = Path::new("status");
    let metadata = status.object("attachmentMetadata").into_iter().flatten();
    let bytes: usize = metadata
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > MAX_METADATA_BYTES {
        errors.push(FieldError::too_long(
            &path.child("attachmentMetadata"),
            MAX_METADATA_BYTES,
        ));
    }
    for field in ["attachError", "detachError"] {
        let Some(error) = status.object(field) else {
            continue;
        };
        let at = path.child(field);
        if error.text("message").len() > MAX_MESSAGE_BYTES {
            // Upstream names the bound of the metadata here.
            errors.push(FieldError::too_long(
                &at.child("message"),
                MAX_METADATA_BYTES,
            ));
        }
        if let Some(code) = error.int("errorCode").filter(|code| *code < 0) {
            errors.push(FieldError::invalid(
                &at.child("errorCode"),
                code,
                "must be between 0 and 2147483647, inclusive",
            ));
        }
    }
}
