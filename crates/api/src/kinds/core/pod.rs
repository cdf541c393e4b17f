//! `v1` Pod.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "pods"),
    gvk: GroupVersionKind::new("", "v1", "Pod"),
    singular: "pod",
    scope: Scope::Namespaced,
    short_names: &["po"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource {
            name: "attach",
            gvk: GroupVersionKind::new("", "v1", "PodAttachOptions"),
            verbs: verbs::CONNECT,
        },
        Subresource {
            name: "binding",
            gvk: GroupVersionKind::new("", "v1", "Binding"),
            verbs: verbs::CREATE,
        },
        Subresource {
            name: "ephemeralcontainers",
            gvk: GroupVersionKind::new("", "v1", "Pod"),
            verbs: verbs::GET_PATCH_UPDATE,
        },
        Subresource {
            name: "eviction",
            gvk: GroupVersionKind::new("policy", "v1", "Eviction"),
            verbs: verbs::CREATE,
        },
        Subresource {
            name: "exec",
            gvk: GroupVersionKind::new("", "v1", "PodExecOptions"),
            verbs: verbs::CONNECT,
        },
        Subresource {
            name: "log",
            gvk: GroupVersionKind::new("", "v1", "Pod"),
            verbs: &["get"],
        },
        Subresource {
            name: "portforward",
            gvk: GroupVersionKind::new("", "v1", "PodPortForwardOptions"),
            verbs: verbs::CONNECT,
        },
        Subresource {
            name: "proxy",
            gvk: GroupVersionKind::new("", "v1", "PodProxyOptions"),
            verbs: verbs::PROXY,
        },
        Subresource {
            name: "resize",
            gvk: GroupVersionKind::new("", "v1", "Pod"),
            verbs: verbs::GET_PATCH_UPDATE,
        },
        Subresource::status(GroupVersionKind::new("", "v1", "Pod")),
    ],
    storage: Some(Storage::plain("pods")),
    strategy: &PodStrategy,
};

#[derive(Debug)]
struct PodStrategy;

impl Strategy for PodStrategy {}
