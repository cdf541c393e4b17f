//! What may change in a pod that is there: by an update, through `ephemeralcontainers` and `resize`, and in its status.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use crate::{
    fields::{Fields, same},
    internal,
    kinds::core::pod_spec::{self, qos},
    names,
};

/// What an update of a pod may not change, worded as upstream words it.
const MUTABLE_FIELDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Of a pod that runs, little can change: images, deadline, more tolerations, fewer gates.
pub(super) fn validate_spec(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let before = old.object("spec").cloned().unwrap_or_default();
    let mut after = new.object("spec").cloned().unwrap_or_default();
    if after.list("containers").len() != before.list("containers").len() {
        errors.push(FieldError::forbidden(
            &path.child("containers"),
            "pod updates may not add or remove containers",
        ));
        return errors;
    }
    if after.list("initContainers").len() != before.list("initContainers").len() {
        errors.push(FieldError::forbidden(
            &path.child("initContainers"),
            "pod updates may not add or remove containers",
        ));
        return errors;
    }
    for list in ["containers", "initContainers"] {
        for (index, container) in after.objects(list) {
            if container.text("image").is_empty() {
                errors.push(FieldError::required(
                    &path.child(list).index(index).child("image"),
                    "",
                ));
            }
        }
    }
    if after.int("activeDeadlineSeconds") != before.int("activeDeadlineSeconds") {
        deadline(
            &mut errors,
            &path.child("activeDeadlineSeconds"),
            &after,
            &before,
        );
    }
    for (index, toleration) in before.list("tolerations").iter().enumerate() {
        let _ = index;
        if !after.list("tolerations").contains(toleration)
            && !after
                .objects("tolerations")
                .any(|(_, t)| toleration_extends(t, toleration))
        {
            errors.push(FieldError::forbidden(
                &path.child("tolerations"),
                "existing toleration can not be modified except its tolerationSeconds",
            ));
            return errors;
        }
    }
    for (index, gate) in after.objects("schedulingGates") {
        if !before
            .objects("schedulingGates")
            .any(|(_, g)| g.text("name") == gate.text("name"))
        {
            errors.push(FieldError::forbidden(
                &path.child("schedulingGates").index(index).child("name"),
                format!(
                    "only deletion is allowed, but found new scheduling gate '{}'",
                    gate.text("name")
                ),
            ));
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    let gated = !before.list("schedulingGates").is_empty();
    // What may change is made equal; what differs then may not.
    for list in ["containers", "initContainers"] {
        let mut images = before
            .objects(list)
            .map(|(_, c)| c.get("image").cloned())
            .collect::<Vec<_>>()
            .into_iter();
        after.each_object(list, |container| {
            container.set_or_remove("image", images.next().flatten());
        });
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        after.set_or_remove(field, before.get(field).cloned());
    }
    if gated {
        for field in ["nodeSelector", "affinity"] {
            after.set_or_remove(field, before.get(field).cloned());
        }
    }
    if before
        .int("terminationGracePeriodSeconds")
        .is_some_and(|s| s < 0)
        && after.int("terminationGracePeriodSeconds") == Some(1)
    {
        after.set_or_remove(
            "terminationGracePeriodSeconds",
            before.get("terminationGracePeriodSeconds").cloned(),
        );
    }
    let (after, before) = (after.into(), before.into());
    if !same(Some(&after), Some(&before)) {
        let difference =
            internal::difference("io.k8s.api.core.v1.PodSpec", Some(&before), Some(&after));
        errors.push(FieldError::forbidden(
            &path,
            format!("{MUTABLE_FIELDS}\n{difference}"),
        ));
    }
    errors
}

/// A toleration that differs from `old` in its seconds alone.
fn toleration_extends(new: &Object, old: &Value) -> bool {
    let Some(old) = old.as_object() else {
        return false;
    };
    ["key", "operator", "value", "effect"]
        .iter()
        .all(|f| new.text(f) == old.text(f))
}

fn deadline(errors: &mut ErrorList, path: &Path, new: &Object, old: &Object) {
    let before = old.int("activeDeadlineSeconds");
    match new.int("activeDeadlineSeconds") {
        Some(seconds) if seconds < 0 => errors.push(FieldError::invalid(
            path,
            seconds,
            "must be greater than or equal to 0",
        )),
        Some(seconds) if before.is_some_and(|b| b < seconds) => errors.push(FieldError::invalid(
            path,
            seconds,
            "must be less than or equal to previous value",
        )),
        None if before.is_some() => errors.push(FieldError::invalid(
            path,
            Value::Null,
            "must not update from a positive integer to nil value",
        )),
        _ => {}
    }
}

/// The `ephemeralcontainers` subresource: containers may be added, those there stay as they are.
pub(super) fn validate_ephemeral_containers(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let spec = new.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    pod_spec::validate(&mut errors, &path, spec);
    let at = path.child("ephemeralContainers");
    for (_, before) in old
        .object("spec")
        .into_iter()
        .flat_map(|s| s.objects("ephemeralContainers"))
    {
        let name = before.text("name");
        match spec
            .objects("ephemeralContainers")
            .find(|(_, c)| c.text("name") == name)
        {
            None => errors.push(FieldError::forbidden(
                &at,
                format!("existing ephemeral containers {name:?} may not be removed\n"),
            )),
            Some((_, after)) if !same_object(after, before) => errors.push(FieldError::forbidden(
                &at,
                format!(
                    "existing ephemeral containers {name:?} may not be changed\n{}",
                    internal::difference(
                        "io.k8s.api.core.v1.EphemeralContainer",
                        Some(&Value::Object(before.clone())),
                        Some(&Value::Object(after.clone())),
                    )
                ),
            )),
            Some(_) => {}
        }
    }
    errors
}

fn same_object(a: &Object, b: &Object) -> bool {
    same(
        Some(&Value::Object(a.clone())),
        Some(&Value::Object(b.clone())),
    )
}

/// The `resize` subresource: processor and memory may change, the quality of service may not.
pub(super) fn validate_resize(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let (spec, before) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    let path = Path::new("spec");
    pod_spec::validate(&mut errors, &path, spec);
    let annotations = old
        .object("metadata")
        .and_then(|meta| meta.object("annotations"));
    if annotations.is_some_and(|all| all.has("kubernetes.io/config.mirror")) {
        let nowhere = Path::new("");
        return vec![FieldError::forbidden(
            &nowhere,
            "static pods cannot be resized",
        )];
    }
    if before
        .object("os")
        .is_some_and(|os| os.text("name") == "windows")
    {
        let nowhere = Path::new("");
        return vec![FieldError::forbidden(
            &nowhere,
            "windows pods cannot be resized",
        )];
    }
    if qos::class(new) != qos::class(old) {
        let stated = new.object("status").map_or("", |s| s.text("qosClass"));
        errors.push(FieldError::invalid(
            &path,
            stated,
            "Pod QOS Class may not change as a result of resizing",
        ));
    }
    if !node_resizes(old) {
        errors.push(FieldError::forbidden(
            &path,
            "Pod running on node without support for resize",
        ));
    }
    pod_level_resize(&mut errors, &path, spec, before);
    let known = errors.len();
    same_containers(&mut errors, &path, spec, before);
    if errors.len() > known {
        return errors;
    }
    let mut others_changed = false;
    for list in ["initContainers", "containers"] {
        for (index, container) in spec.objects(list) {
            let Some((_, was)) = before.objects(list).nth(index) else {
                continue;
            };
            for part in PARTS {
                let (now, then) = (amounts(container, part), amounts(was, part));
                let at = path.child(list).index(index).child("resources").child(part);
                if removed(&now, &then) {
                    let message = format!("resource {part} cannot be removed");
                    errors.push(FieldError::forbidden(&at, message));
                }
                others_changed |= changed_beside_cpu_and_memory(&now, &then);
            }
            if list == "initContainers" && restarts_for_nothing(container, was) {
                errors.push(FieldError::forbidden(
                    &path.child(list).index(index),
                    "non-sidecar init containers with a resize policy of RestartContainer cannot be resized",
                ));
            }
        }
    }
    if others_changed {
        errors.push(FieldError::forbidden(
            &path,
            "only cpu and memory resources are mutable",
        ));
    }
    errors
}

const PARTS: [&str; 2] = ["requests", "limits"];

/// One part of the resources of a container or a pod's spec.
fn amounts(of: &Object, part: &str) -> Object {
    of.object("resources")
        .and_then(|resources| resources.object(part))
        .cloned()
        .unwrap_or_default()
}

fn is_resizable(name: &str) -> bool {
    matches!(name, "cpu" | "memory")
}

fn removed(now: &Object, then: &Object) -> bool {
    then.keys()
        .any(|name| is_resizable(name) && !now.contains_key(name))
}

fn changed_beside_cpu_and_memory(now: &Object, then: &Object) -> bool {
    now.keys()
        .chain(then.keys())
        .any(|name| !is_resizable(name) && now.get(name) != then.get(name))
}

/// Whether the pod's kubelet has told resources of a running container; without one, nobody can say.
fn node_resizes(old: &Object) -> bool {
    let empty = Object::new();
    let status = old.object("status").unwrap_or(&empty);
    status
        .objects("containerStatuses")
        .find(|(_, one)| {
            one.object("state")
                .is_some_and(|state| state.has("running"))
        })
        .is_none_or(|(_, one)| one.has("resources"))
}

/// Resources of the whole pod may change, but not go (KEP-5419).
fn pod_level_resize(errors: &mut ErrorList, path: &Path, spec: &Object, before: &Object) {
    if !spec.has("resources") {
        if before.has("resources") {
            errors.push(FieldError::forbidden(
                &path.child("resources"),
                "pod-level resources cannot be removed",
            ));
        }
        return;
    }
    let mut others_changed = false;
    for part in PARTS {
        let (now, then) = (amounts(spec, part), amounts(before, part));
        if removed(&now, &then) {
            let message = format!("pod-level resource {part} cannot be removed");
            errors.push(FieldError::forbidden(
                &path.child("resources").child(part),
                message,
            ));
        }
        others_changed |= changed_beside_cpu_and_memory(&now, &then);
    }
    if others_changed {
        errors.push(FieldError::forbidden(
            path,
            "only cpu and memory resources are mutable at pod-level",
        ));
    }
}

/// A resize adds, removes, renames and moves no container.
fn same_containers(errors: &mut ErrorList, path: &Path, spec: &Object, before: &Object) {
    for list in ["containers", "initContainers"] {
        if spec.list(list).len() != before.list(list).len() {
            let message = format!("{list} may not be added or removed on resize");
            errors.push(FieldError::forbidden(&path.child(list), message));
            continue;
        }
        for (index, was) in before.objects(list) {
            let now = spec.objects(list).nth(index);
            if now.is_none_or(|(_, now)| now.text("name") != was.text("name")) {
                let message = format!("{list} may not be renamed or reordered on resize");
                let at = path.child(list).index(index).child("name");
                errors.push(FieldError::forbidden(&at, message));
            }
        }
    }
}

/// An init container that is resized, is no sidecar, and would have to be restarted for it.
fn restarts_for_nothing(container: &Object, was: &Object) -> bool {
    container.text("restartPolicy") != "Always"
        && container.get("resources") != was.get("resources")
        && container
            .objects("resizePolicy")
            .any(|(_, policy)| policy.text("restartPolicy") == "RestartContainer")
}

/// Of a status that a kubelet writes.
pub(super) fn validate_status(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let status = new.object("status").unwrap_or(&empty);
    let before = old.object("status").unwrap_or(&empty);
    let path = Path::new("status");
    for (index, condition) in status.objects("conditions") {
        let kind = condition.text("type");
        for message in names::qualified_name(kind) {
            errors.push(FieldError::invalid(
                &path.child("conditions").index(index).child("Type"),
                kind,
                message,
            ));
        }
    }
    let node = status.text("nominatedNodeName");
    if !node.is_empty() {
        for message in names::dns1123_subdomain(node) {
            errors.push(FieldError::invalid(
                &path.child("nominatedNodeName"),
                node,
                message,
            ));
        }
    }
    let (now, then) = (status.text("qosClass"), before.text("qosClass"));
    if !then.is_empty() && now != then {
        errors.push(FieldError::invalid(
            &path.child("qosClass"),
            now,
            "field is immutable",
        ));
    }
    for (index, ip) in status.objects("podIPs") {
        for message in names::legacy_ip(ip.text("ip")) {
            errors.push(FieldError::invalid(
                &path.child("podIPs").index(index).child("ip"),
                ip.text("ip"),
                message,
            ));
        }
    }
    errors
}
