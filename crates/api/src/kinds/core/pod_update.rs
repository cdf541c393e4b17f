//! What may change in a pod that is there: by an update, through `ephemeralcontainers` and `resize`, and in its status.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    meta as machinery, quote,
};
use serde_json::{Value, json};

use crate::{
    fields::Fields,
    internal,
    kinds::core::{
        pod::RESOURCE,
        pod_spec::{self, qos},
    },
    meta, names,
    validate::invalid_shown,
};

/// What an update of a pod may not change, worded as upstream words it.
const MUTABLE_FIELDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Of a pod that runs, little can change: images, deadline, more tolerations, fewer gates.
pub(super) fn validate(new: &Object, old: &Object) -> ErrorList {
    let mut errors = meta::validate_new(new, &RESOURCE);
    pod_spec::validate_pod(&mut errors, new);
    let annotations = Path::new("metadata").child("annotations");
    pod_spec::annotations::validate_update(&mut errors, &annotations, new, old);
    let path = Path::new("spec");
    let before = old.object("spec").cloned().unwrap_or_default();
    let after = new.object("spec").cloned().unwrap_or_default();
    for list in ["containers", "initContainers"] {
        let at = path.child(list);
        if after.list(list).len() != before.list(list).len() {
            errors.push(FieldError::forbidden(
                &at,
                "pod updates may not add or remove containers",
            ));
            return errors;
        }
        for (index, container) in after.objects(list) {
            if container.text("image").is_empty() {
                let at = at.index(index).child("image");
                errors.push(FieldError::required(&at, ""));
            }
            pod_spec::containers::image_of_pod(&mut errors, &at.index(index), container);
        }
    }
    let at = path.child("activeDeadlineSeconds");
    deadline(&mut errors, &at, &after, &before);
    for toleration in before.list("tolerations") {
        let kept = after
            .objects("tolerations")
            .any(|(_, now)| toleration_extends(now, toleration));
        if !kept {
            errors.push(FieldError::forbidden(
                &path.child("tolerations"),
                "existing toleration can not be modified except its tolerationSeconds",
            ));
            // Upstream goes no further into the tolerations than this.
            break;
        }
    }
    if errors
        .last()
        .is_none_or(|e| e.field != path.child("tolerations"))
    {
        pod_spec::scheduling::tolerations(&mut errors, &path.child("tolerations"), &after);
    }
    only_fewer_gates(&mut errors, &path.child("schedulingGates"), &after, &before);
    nothing_else(&mut errors, &path, after, &before);
    errors
}

/// Gates may go, not come.
fn only_fewer_gates(errors: &mut ErrorList, path: &Path, after: &Object, before: &Object) {
    let known = |name: &str| {
        before
            .objects("schedulingGates")
            .any(|(_, gate)| gate.text("name") == name)
    };
    for (index, gate) in after.objects("schedulingGates") {
        let name = gate.text("name");
        if !known(name) {
            errors.push(FieldError::forbidden(
                &path.index(index).child("name"),
                format!("only deletion is allowed, but found new scheduling gate '{name}'"),
            ));
        }
    }
}

/// What may change is made equal; what differs then may not.
fn nothing_else(errors: &mut ErrorList, path: &Path, mut after: Object, before: &Object) {
    let then = Value::Object(before.clone());
    if internal::same(POD_SPEC, Some(&Value::Object(after.clone())), Some(&then)) {
        return;
    }
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
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        after.set_or_remove(field, before.get(field).cloned());
    }
    const GRACE: &str = "terminationGracePeriodSeconds";
    if before.int(GRACE).is_some_and(|s| s < 0) && after.int(GRACE) == Some(1) {
        after.set_or_remove(GRACE, before.get(GRACE).cloned());
    }
    if !before.list("schedulingGates").is_empty() {
        narrowed(errors, path, &mut after, before);
    }
    let after = Value::Object(after);
    if !internal::same(POD_SPEC, Some(&after), Some(&then)) {
        let difference = internal::difference(POD_SPEC, Some(&then), Some(&after));
        errors.push(FieldError::forbidden(
            path,
            format!("{MUTABLE_FIELDS}\n{difference}"),
        ));
    }
}

/// While a pod waits at a gate, the nodes it can go to may become fewer.
fn narrowed(errors: &mut ErrorList, path: &Path, after: &mut Object, before: &Object) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const AFFINITY: &str = "io.k8s.api.core.v1.NodeAffinity";
    const SELECTOR: &str = "nodeSelector";
    let (now, then) = (after.object(SELECTOR), before.object(SELECTOR));
    let is_same = internal::same_field(POD_SPEC, after, before, SELECTOR);
    for (key, value) in then.into_iter().flatten() {
        if now.and_then(|now| now.get(key)) != Some(value) {
            errors.push(FieldError::invalid(
                &path.child("nodeSelector"),
                now.map_or(Value::Null, |now| Value::Object(now.clone())),
                "only additions to spec.nodeSelector are allowed (no mutations or deletions)",
            ));
        }
    }
    if !is_same {
        after.set_or_remove(SELECTOR, before.get(SELECTOR).cloned());
    }
    let node_affinity = |spec: &Object| -> Option<Value> {
        spec.object("affinity")?.value("nodeAffinity").cloned()
    };
    let (now, then) = (node_affinity(after), node_affinity(before));
    if now.is_some() == then.is_some() && internal::same(AFFINITY, now.as_ref(), then.as_ref()) {
        return;
    }
    let terms = |affinity: &Option<Value>| -> Vec<Value> {
        let required = affinity
            .as_ref()
            .and_then(|affinity| affinity.get(REQUIRED));
        let terms = required.and_then(|required| required.get("nodeSelectorTerms"));
        terms.and_then(Value::as_array).cloned().unwrap_or_default()
    };
    let (wanted, stood) = (terms(&now), terms(&then));
    let at = path.child("affinity").child("nodeAffinity").child(REQUIRED);
    let at = at.child("nodeSelectorTerms");
    if !stood.is_empty() && stood.len() != wanted.len() {
        let shown = match wanted.is_empty() {
            true => "null".to_owned(),
            false => internal::in_go_names(SELECTOR_TERM, &wanted),
        };
        errors.push(invalid_shown(
            &at,
            &shown,
            "no additions/deletions to non-empty NodeSelectorTerms list are allowed",
        ));
    } else {
        for (index, (wanted, stood)) in wanted.iter().zip(&stood).enumerate() {
            if !only_adds(wanted, stood) {
                errors.push(invalid_shown(
                    &at.index(index),
                    &internal::shown(SELECTOR_TERM, Some(wanted)),
                    "only additions are allowed (no mutations or deletions)",
                ));
            }
        }
    }
    put_back(after, then, before.has("affinity"));
}

/// Gives the affinity of the changed spec the nodes of the one before, so that what is left to differ is the rest.
fn put_back(after: &mut Object, node_affinity: Option<Value>, had_affinity: bool) {
    match after.object_mut("affinity") {
        None => {
            if let Some(nodes) = node_affinity {
                after.set("affinity", json!({ "nodeAffinity": nodes }));
            }
        }
        Some(affinity) => {
            let alone = !affinity.has("podAffinity") && !affinity.has("podAntiAffinity");
            if !had_affinity && alone {
                after.remove("affinity");
            } else {
                affinity.set_or_remove("nodeAffinity", node_affinity);
            }
        }
    }
}

/// Whether a term asks for all that it asked for, first; one that asked for nothing, which no node meets, stays as it is.
fn only_adds(wanted: &Value, stood: &Value) -> bool {
    let list = |term: &Value, field: &str| -> Vec<Value> {
        let list = term.get(field).and_then(Value::as_array);
        list.cloned().unwrap_or_default()
    };
    let fields = ["matchExpressions", "matchFields"];
    let nothing = |term: &Value| fields.iter().all(|field| list(term, field).is_empty());
    if nothing(stood) {
        return nothing(wanted);
    }
    fields.iter().all(|field| {
        let (wanted, stood) = (list(wanted, field), list(stood, field));
        wanted.starts_with(&stood)
    })
}

const POD_SPEC: &str = "io.k8s.api.core.v1.PodSpec";
const SELECTOR_TERM: &str = "io.k8s.api.core.v1.NodeSelectorTerm";

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
    let Some(seconds) = new.int("activeDeadlineSeconds") else {
        if before.is_some() {
            errors.push(FieldError::invalid(
                path,
                Value::Null,
                "must not update from a positive integer to nil value",
            ));
        }
        return;
    };
    for complaint in names::in_range(seconds, 0, i64::from(i32::MAX)) {
        errors.push(FieldError::invalid(path, seconds, complaint));
    }
    if before.is_some_and(|before| before < seconds) {
        errors.push(FieldError::invalid(
            path,
            seconds,
            "must be less than or equal to previous value",
        ));
    }
}

/// The `ephemeralcontainers` subresource: containers may be added, those there stay as they are.
pub(super) fn validate_ephemeral_containers(new: &Object, old: &Object) -> ErrorList {
    let mut errors = meta::validate_new(new, &RESOURCE);
    pod_spec::validate_pod(&mut errors, new);
    let annotations = Path::new("metadata").child("annotations");
    pod_spec::annotations::validate_update(&mut errors, &annotations, new, old);
    if machinery::annotation(old, pod_spec::annotations::MIRROR).is_some() {
        let detail = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden(&Path::new("[]"), detail)];
    }
    let empty = Object::new();
    let spec = new.object("spec").unwrap_or(&empty);
    let at = Path::new("spec").child("ephemeralContainers");
    for (_, before) in old
        .object("spec")
        .into_iter()
        .flat_map(|s| s.objects("ephemeralContainers"))
    {
        let name = quote(before.text("name"));
        match spec
            .objects("ephemeralContainers")
            .filter(|(_, c)| c.text("name") == before.text("name"))
            .last()
        {
            None => errors.push(FieldError::forbidden(
                &at,
                format!("existing ephemeral containers {name} may not be removed\n"),
            )),
            Some((_, after)) => {
                let ty = "io.k8s.api.core.v1.EphemeralContainer";
                let (before, after) = (Value::Object(before.clone()), Value::Object(after.clone()));
                if !internal::same(ty, Some(&before), Some(&after)) {
                    let difference = internal::difference(ty, Some(&before), Some(&after));
                    errors.push(FieldError::forbidden(
                        &at,
                        format!(
                            "existing ephemeral containers {name} may not be changed\n{difference}"
                        ),
                    ));
                }
            }
        }
    }
    errors
}

/// The `resize` subresource: processor and memory may change, the quality of service may not.
pub(super) fn validate_resize(new: &Object, old: &Object) -> ErrorList {
    let mut errors = meta::validate_new(new, &RESOURCE);
    pod_spec::validate_pod(&mut errors, new);
    let empty = Object::new();
    let (spec, before) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    let path = Path::new("spec");
    let annotations = old
        .object("metadata")
        .and_then(|meta| meta.object("annotations"));
    if annotations.is_some_and(|all| all.has("kubernetes.io/config.mirror")) {
        let nowhere = Path::new("[]");
        return vec![FieldError::forbidden(
            &nowhere,
            "static pods cannot be resized",
        )];
    }
    if before
        .object("os")
        .is_some_and(|os| os.text("name") == "windows")
    {
        let nowhere = Path::new("[]");
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
    let each = |list: &'static str| {
        let known = before.objects(list);
        spec.objects(list)
            .zip(known)
            .map(|((i, now), (_, was))| (i, now, was))
    };
    for list in ["initContainers", "containers"] {
        for (index, container, was) in each(list) {
            for part in PARTS {
                let (now, then) = (amounts(container, part), amounts(was, part));
                if removed(&now, &then) {
                    let at = path.child(list).index(index).child("resources").child(part);
                    let message = format!("resource {part} cannot be removed");
                    errors.push(FieldError::forbidden(&at, message));
                }
            }
        }
    }
    for (_, container, was) in each("containers") {
        if changed_beside_cpu_and_memory(container, was) {
            let message = "only cpu and memory resources are mutable";
            errors.push(FieldError::forbidden(&path, message));
        }
    }
    for (index, container, was) in each("initContainers") {
        let at = path.child("initContainers").index(index);
        if changed_beside_cpu_and_memory(container, was) {
            let message =
                "only cpu and memory resources for init or sidecar containers are mutable";
            errors.push(FieldError::forbidden(&at, message));
        }
        if restarts_for_nothing(container, was) {
            let message = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.push(FieldError::forbidden(&at, message));
        }
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

/// Whether a container differs in anything but its CPU and memory. Claims of it go by the pod's, and are not looked at.
fn changed_beside_cpu_and_memory(container: &Object, was: &Object) -> bool {
    let mut resources = Object::new();
    for part in PARTS {
        let (mut now, then) = (amounts(container, part), amounts(was, part));
        now.retain(|name, _| !is_resizable(name));
        now.extend(then.into_iter().filter(|(name, _)| is_resizable(name)));
        resources.set(part, now);
    }
    let mut container = container.clone();
    container.set("resources", resources);
    let (now, then) = (Value::Object(container), Value::Object(was.clone()));
    !internal::same("io.k8s.api.core.v1.Container", Some(&now), Some(&then))
}

fn other_amounts_changed(now: &Object, then: &Object) -> bool {
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
        others_changed |= other_amounts_changed(&now, &then);
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
