//! `v1` Node: a machine that runs pods. Its status is the kubelet's.

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::{resources, scheduling},
    lifecycle, names,
    validate::{shown_as, text},
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
        pod_cidrs(object.ensure_object("spec"));
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_node(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let status = Path::new("status");
        for field in ["capacity", "allocatable"] {
            for (name, value) in new
                .object("status")
                .and_then(|s| s.object(field))
                .into_iter()
                .flatten()
            {
                let at = status.child(field).key(name);
                resources::quantity_value(&mut errors, &at, name, value);
            }
        }
        errors
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

fn validate_node(errors: &mut ErrorList, node: &Object) {
    let empty = Object::new();
    let spec = node.object("spec").unwrap_or(&empty);
    let taints = Path::new("metadata").child("taints");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, taint) in spec.objects("taints") {
        let at = taints.index(index);
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        text(errors, &at.child("key"), key, names::qualified_name(key));
        text(errors, &at.child("value"), value, names::label_value(value));
        scheduling::taint_effect(errors, &at.child("effect"), effect);
        if seen.contains(&(key, effect)) {
            let shown = format!(
                "{{\"Key\":{key:?},\"Value\":{value:?},\"Effect\":{effect:?},\"TimeAdded\":null}}"
            );
            errors.push(shown_as(
                ErrorType::Duplicate,
                &at,
                &shown,
                "taints must be unique by key and effect pair",
            ));
        }
        seen.push((key, effect));
    }
    let path = Path::new("spec").child("podCIDRs");
    for (index, cidr) in spec.texts("podCIDRs").enumerate() {
        text(errors, &path.index(index), cidr, names::legacy_cidr(cidr));
    }
}

/// `podCIDR` is the older name of the first of `podCIDRs`, and wins.
fn pod_cidrs(spec: &mut Object) {
    let single = spec.text("podCIDR").to_owned();
    let first = spec.texts("podCIDRs").next().unwrap_or_default().to_owned();
    if !single.is_empty() && single != first {
        spec.set("podCIDRs", vec![serde_json::Value::from(single)]);
    } else if single.is_empty() && !first.is_empty() {
        spec.set("podCIDR", first);
    }
}
