//! `v1` Node.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "nodes"),
    gvk: GroupVersionKind::new("", "v1", "Node"),
    singular: "node",
    scope: Scope::Cluster,
    short_names: &["no"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[
        Subresource {
            name: "proxy",
            gvk: GroupVersionKind::new("", "v1", "NodeProxyOptions"),
            verbs: verbs::PROXY,
        },
        Subresource::status(GroupVersionKind::new("", "v1", "Node")),
    ],
    storage: Some(Storage::plain("minions")),
    strategy: &NodeStrategy,
};

#[derive(Debug)]
struct NodeStrategy;

impl Strategy for NodeStrategy {}
