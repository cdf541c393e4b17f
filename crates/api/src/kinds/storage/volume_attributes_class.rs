//! `storage.k8s.io/v1` VolumeAttributesClass.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("storage.k8s.io", "v1", "volumeattributesclasses"),
    gvk: GroupVersionKind::new("storage.k8s.io", "v1", "VolumeAttributesClass"),
    singular: "volumeattributesclass",
    scope: Scope::Cluster,
    short_names: &["vac"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("volumeattributesclasses")),
    strategy: &VolumeAttributesClassStrategy,
};

#[derive(Debug)]
struct VolumeAttributesClassStrategy;

impl Strategy for VolumeAttributesClassStrategy {}
