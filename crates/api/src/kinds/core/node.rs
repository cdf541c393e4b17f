//! `v1` Node.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

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

impl Strategy for NodeStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        let status = object.ensure_object("status");
        status
            .ensure_object("daemonEndpoints")
            .ensure_object("kubeletEndpoint")
            .set_default("Port", 0);
        let info = status.ensure_object("nodeInfo");
        for field in NODE_INFO {
            info.set_default(field, "");
        }
        // What is allocatable is all there is, until the kubelet says otherwise.
        if let Some(capacity) = status.object("capacity").filter(|c| !c.is_empty()).cloned() {
            status.set_default("allocatable", capacity);
        }
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let unschedulable = object
            .object("spec")
            .is_some_and(|s| s.is_true("unschedulable"));
        vec![("spec.unschedulable", unschedulable.to_string())]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "spec.unschedulable")
    }
}

const NODE_INFO: &[&str] = &[
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
];
