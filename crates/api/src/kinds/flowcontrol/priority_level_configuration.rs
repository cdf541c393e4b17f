//! `flowcontrol.apiserver.k8s.io/v1` PriorityLevelConfiguration.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "prioritylevelconfigurations",
    ),
    gvk: GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
    ),
    singular: "prioritylevelconfiguration",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
    ))],
    storage: Some(Storage::plain("prioritylevelconfigurations")),
    strategy: &PriorityLevelConfigurationStrategy,
};

#[derive(Debug)]
struct PriorityLevelConfigurationStrategy;

impl Strategy for PriorityLevelConfigurationStrategy {}
