//! `storage.k8s.io/v1` VolumeAttachment.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

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

impl Strategy for VolumeAttachmentStrategy {}
