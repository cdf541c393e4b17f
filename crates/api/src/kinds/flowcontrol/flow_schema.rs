//! `flowcontrol.apiserver.k8s.io/v1` FlowSchema.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"),
    gvk: GroupVersionKind::new("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema"),
    singular: "flowschema",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "FlowSchema",
    ))],
    storage: Some(Storage::plain("flowschemas")),
    strategy: &FlowSchemaStrategy,
};

#[derive(Debug)]
struct FlowSchemaStrategy;

impl Strategy for FlowSchemaStrategy {}
