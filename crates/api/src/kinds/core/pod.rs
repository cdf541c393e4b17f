//! `v1` Pod: containers that run together. What may change in one that is there stands in `pod_update.rs`.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::{Value, json};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::{
        pod_spec::{self, defaults, qos},
        pod_status, pod_update as update,
    },
    lifecycle, names,
};

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

impl Strategy for PodStrategy {
    fn default(&self, object: &mut Object) {
        defaults::pod(object);
        default_status(object.ensure_object("status"));
    }
    fn prepare_for_create(&self, object: &mut Object) {
        pod_spec::disabled::drop_from_pod(object);
        lifecycle::first_generation(object);
        let class = qos::class(object);
        let now = meta::creation_timestamp(object).to_owned();
        let spec = object.ensure_object("spec");
        defaults::service_account_alias(spec);
        // A negative period asks for the shortest.
        if spec
            .int("terminationGracePeriodSeconds")
            .is_some_and(|s| s < 0)
        {
            spec.set("terminationGracePeriodSeconds", 1);
        }
        let gated = !spec.list("schedulingGates").is_empty();
        let mut status = json!({"phase": "Pending", "qosClass": class});
        if gated {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "lastProbeTime": null,
                "lastTransitionTime": now, "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
            }]);
        }
        object.set("status", status);
        pod_spec::app_armor::fields_from_annotations(object);
        pod_spec::label_keys::merge_into_selectors(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        pod_spec::disabled::drop_from_pod(new);
        lifecycle::keep(new, old, &["status"]);
        defaults::service_account_alias(new.ensure_object("spec"));
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_metadata(new, old, &["deletionTimestamp", "ownerReferences"]);
        let class = old
            .object("status")
            .map_or("", |s| s.text("qosClass"))
            .to_owned();
        let status = new.ensure_object("status");
        // Behind a feature gate that is off by default: it stays only where it is in use.
        const CLAIMED: &str = "nodeAllocatableResourceClaimStatuses";
        if old.object("status").is_none_or(|s| !s.has(CLAIMED)) {
            status.remove(CLAIMED);
        }
        // The class follows from the spec; a kubelet that leaves it out does not unset it.
        if !class.is_empty() {
            status.set_default_zero("qosClass", class);
        }
    }
    fn prepare_for_subresource_update(&self, name: &str, new: &mut Object, old: &Object) {
        match name {
            "ephemeralcontainers" => prepare_for_ephemeral_containers(new, old),
            "resize" => prepare_for_resize(new, old),
            _ => self.prepare_for_update(new, old),
        }
    }
    fn validate_subresource_update(&self, name: &str, new: &Object, old: &Object) -> ErrorList {
        match name {
            "ephemeralcontainers" => update::validate_ephemeral_containers(new, old),
            "resize" => update::validate_resize(new, old),
            _ => self.validate_update(new, old),
        }
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &[
            "spec",
            "metadata.deletionTimestamp",
            "metadata.ownerReferences",
        ]
    }
    fn graceful_deletion_seconds(&self, object: &Object, requested: Option<i64>) -> Option<i64> {
        let spec = object.object("spec")?;
        let period = requested
            .or_else(|| spec.int("terminationGracePeriodSeconds"))
            .unwrap_or(0);
        let phase = object.object("status").map_or("", |s| s.text("phase"));
        // No kubelet would confirm the end of a pod that has no node, and one that has ended has nothing left to do.
        if spec.text("nodeName").is_empty() || matches!(phase, "Failed" | "Succeeded") {
            return Some(0);
        }
        // A negative period asks for the shortest.
        Some(if period < 0 { 1 } else { period })
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let status = object.object("status").unwrap_or(&empty);
        let mut ip = status.text("podIP");
        if ip.is_empty() {
            ip = status
                .objects("podIPs")
                .next()
                .map_or("", |(_, p)| p.text("ip"));
        }
        let text = |s: &str| s.to_owned();
        vec![
            ("spec.nodeName", text(spec.text("nodeName"))),
            ("spec.restartPolicy", text(spec.text("restartPolicy"))),
            ("spec.schedulerName", text(spec.text("schedulerName"))),
            (
                "spec.serviceAccountName",
                text(spec.text("serviceAccountName")),
            ),
            ("spec.hostNetwork", spec.is_true("hostNetwork").to_string()),
            ("status.phase", text(status.text("phase"))),
            ("status.podIP", text(ip)),
            (
                "status.nominatedNodeName",
                text(status.text("nominatedNodeName")),
            ),
        ]
    }
    fn indexed_field(&self) -> Option<&'static str> {
        Some("spec.nodeName")
    }
    fn selectable_paths(&self) -> Vec<&str> {
        vec![
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ]
    }
    /// The first clients of v1 sent `spec.host`.
    fn field_of_label<'a>(&self, label: &'a str) -> &'a str {
        match label {
            "spec.host" => "spec.nodeName",
            label => label,
        }
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(
            field,
            "metadata.name"
                | "metadata.namespace"
                | "spec.nodeName"
                | "spec.restartPolicy"
                | "spec.schedulerName"
                | "spec.serviceAccountName"
                | "spec.hostNetwork"
                | "status.phase"
                | "status.podIP"
                | "status.podIPs"
                | "status.nominatedNodeName"
        )
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        names::dns1123_subdomain(&if prefix {
            names::mask_trailing_dash(name)
        } else {
            name.to_owned()
        })
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        pod_spec::validate_pod(&mut errors, object);
        if !spec.list("ephemeralContainers").is_empty() {
            errors.push(FieldError::forbidden(
                &path.child("ephemeralContainers"),
                "cannot be set on create",
            ));
        }
        if !spec.list("schedulingGates").is_empty() && !spec.text("nodeName").is_empty() {
            errors.push(FieldError::forbidden(
                &path.child("nodeName"),
                "cannot be set until all schedulingGates have been cleared",
            ));
        }
        pod_spec::annotations::match_seccomp_fields(&mut errors, object, &path);
        pod_spec::annotations::match_app_armor_fields(&mut errors, object, &path);
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        update::validate(new, old)
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        pod_status::validate(new, old)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_some() {
            return Vec::new();
        }
        let mut warnings = pod_spec::app_armor::warnings(new);
        warnings.extend(pod_spec::warnings::of_name(meta::name(new)));
        warnings.extend(pod_spec::warnings::of_pod(new));
        warnings
    }
}

/// What is always written in a status, and the older name of the first address.
fn default_status(status: &mut Object) {
    for list in [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ] {
        status.each_object(list, |container| {
            container.ensure_object("state");
            container.ensure_object("lastState");
        });
    }
    status.each_object("conditions", |condition| {
        condition.set_default("lastProbeTime", Value::Null);
        condition.set_default("lastTransitionTime", Value::Null);
    });
    let first = status
        .objects("podIPs")
        .next()
        .map_or("", |(_, ip)| ip.text("ip"))
        .to_owned();
    let single = status.text("podIP").to_owned();
    if !single.is_empty() && single != first {
        status.set("podIPs", json!([{"ip": single}]));
    } else if single.is_empty() && !first.is_empty() {
        status.set("podIP", first);
    }
}

/// The `ephemeralcontainers` subresource: only they come from `new`.
pub fn prepare_for_ephemeral_containers(new: &mut Object, old: &Object) {
    let containers = new
        .object("spec")
        .and_then(|s| s.get("ephemeralContainers"))
        .cloned();
    take_old_but_its_version(new, old);
    new.ensure_object("spec")
        .set_or_remove("ephemeralContainers", containers);
    pod_spec::disabled::drop_from_pod(new);
    lifecycle::bump_generation(new, old, &["spec"]);
}

/// All is as it was, but for what tells writes, writers and pods of one name apart.
fn take_old_but_its_version(new: &mut Object, old: &Object) {
    let kept: Vec<_> = ["uid", "resourceVersion", "managedFields"]
        .map(|f| (f, new.object("metadata").and_then(|m| m.get(f)).cloned()))
        .into();
    *new = old.clone();
    for (field, value) in kept {
        meta::metadata_mut(new).set_or_remove(field, value);
    }
}

/// The `resize` subresource: only the pod's resources, and the resources and resize policies of its containers come from `new`. Containers
/// that are others, or in another order, stay as they are asked for: validation refuses them.
pub fn prepare_for_resize(new: &mut Object, old: &Object) {
    const LISTS: [&str; 2] = ["containers", "initContainers"];
    let asked = new.object("spec").cloned().unwrap_or_default();
    let names = |spec: &Object, list: &str| -> Vec<String> {
        let names = spec.objects(list).map(|(_, c)| c.text("name").to_owned());
        names.collect()
    };
    let before = old.object("spec").cloned().unwrap_or_default();
    let as_many = |list| names(&asked, list).len() == names(&before, list).len();
    if LISTS.into_iter().all(as_many) {
        take_old_but_its_version(new, old);
        let spec = new.ensure_object("spec");
        spec.set_or_remove("resources", asked.get("resources").cloned());
        for list in LISTS {
            if names(&asked, list) != names(&before, list) {
                spec.set_or_remove(list, asked.get(list).cloned());
                continue;
            }
            let mut sources = asked.objects(list).map(|(_, source)| source);
            spec.each_object(list, |container| {
                let Some(source) = sources.next() else { return };
                for field in ["resources", "resizePolicy"] {
                    container.set_or_remove(field, source.get(field).cloned());
                }
            });
        }
    }
    lifecycle::bump_generation(new, old, &["spec"]);
}

/// The `binding` subresource: puts the pod on a node. `None` when the binding names no node.
pub fn apply_binding(pod: &mut Object, binding: &Object, now: &str) -> Option<()> {
    let node = binding
        .object("target")
        .map(|t| t.text("name"))
        .filter(|n| !n.is_empty())?
        .to_owned();
    if let Some(annotations) = binding
        .object("metadata")
        .and_then(|m| m.object("annotations"))
    {
        for (key, value) in annotations {
            meta::set_annotation(pod, key, value.as_str());
        }
    }
    pod.ensure_object("spec").set("nodeName", node);
    set_condition(
        pod.ensure_object("status"),
        json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now}),
    );
    Some(())
}

/// Puts a condition in the place of the one of its type; keeps the time of its last change when its status is the same.
pub fn set_condition(status: &mut Object, mut condition: Value) {
    let list = status.entry("conditions").or_insert_with(|| json!([]));
    let Some(list) = list.as_array_mut() else {
        return;
    };
    match list.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(old) => {
            if old["status"] == condition["status"] {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => list.push(condition),
    }
}
