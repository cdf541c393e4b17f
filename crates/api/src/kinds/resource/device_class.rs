//! `resource.k8s.io/v1` DeviceClass.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "deviceclasses"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "DeviceClass"),
    singular: "deviceclass",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("deviceclasses")),
    strategy: &DeviceClassStrategy,
};

#[derive(Debug)]
struct DeviceClassStrategy;

impl Strategy for DeviceClassStrategy {}
