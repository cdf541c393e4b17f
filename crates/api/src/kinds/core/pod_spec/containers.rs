//! Rules of containers: names, images, ports, mounts.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::{Context, environment, probes, resources, security};
use crate::{
    fields::Fields,
    names,
    validate::{one_of, ports, text},
};

/// `spec.containers`.
pub(super) fn validate(errors: &mut ErrorList, path: &Path, spec: &Object, context: &Context<'_>) {
    if spec.list("containers").is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, container) in spec.objects("containers") {
        let at = path.index(index);
        container_common(errors, &at, container, context);
        duplicate_name(errors, &at, container, &mut seen);
        if let Some(lifecycle) = container.object("lifecycle") {
            probes::lifecycle(
                errors,
                &at.child("lifecycle"),
                lifecycle,
                context.grace_seconds,
            );
        }
        probes::of_container(errors, &at, container, context.grace_seconds);
    }
    host_port_conflicts(errors, path, spec);
}

/// `spec.initContainers`; those that restart are sidecars, and may have probes and hooks.
pub(super) fn validate_init(
    errors: &mut ErrorList,
    path: &Path,
    spec: &Object,
    context: &Context<'_>,
) {
    let mut seen: Vec<&str> = spec
        .objects("containers")
        .map(|(_, c)| c.text("name"))
        .collect();
    for (index, container) in spec.objects("initContainers") {
        let at = path.index(index);
        container_common(errors, &at, container, context);
        duplicate_name(errors, &at, container, &mut seen);
        let policy = container.text("restartPolicy");
        if policy == "Always" {
            if let Some(lifecycle) = container.object("lifecycle") {
                probes::lifecycle(
                    errors,
                    &at.child("lifecycle"),
                    lifecycle,
                    context.grace_seconds,
                );
            }
            probes::of_container(errors, &at, container, context.grace_seconds);
            continue;
        }
        for field in [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ] {
            if container.has(field) {
                errors.push(FieldError::forbidden(
                    &at.child(field),
                    "may not be set for init containers without restartPolicy=Always",
                ));
            }
        }
    }
}

/// `spec.ephemeralContainers`, which have no ports, probes or resources of their own.
pub(super) fn validate_ephemeral(
    errors: &mut ErrorList,
    path: &Path,
    spec: &Object,
    context: &Context<'_>,
) {
    const ALLOWED: &[&str] = &[
        "name",
        "image",
        "command",
        "args",
        "workingDir",
        "env",
        "envFrom",
        "volumeMounts",
        "volumeDevices",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "imagePullPolicy",
        "securityContext",
        "stdin",
        "stdinOnce",
        "tty",
        "targetContainerName",
        "restartPolicy",
    ];
    let others: Vec<&str> = ["containers", "initContainers"]
        .iter()
        .flat_map(|list| spec.objects(list).map(|(_, c)| c.text("name")))
        .collect();
    let mut seen = others.clone();
    for (index, container) in spec.objects("ephemeralContainers") {
        let at = path.index(index);
        container_common(errors, &at, container, context);
        duplicate_name(errors, &at, container, &mut seen);
        let target = container.text("targetContainerName");
        if !target.is_empty() && !others.contains(&target) {
            errors.push(FieldError::not_found(
                &at.child("targetContainerName"),
                target,
            ));
        }
        for (field, value) in container {
            let set = !value.is_null()
                && !value.as_object().is_some_and(Object::is_empty)
                && !value.as_array().is_some_and(Vec::is_empty);
            if set && !ALLOWED.contains(&field.as_str()) {
                errors.push(FieldError::forbidden(
                    &at.child(field),
                    "cannot be set for an Ephemeral Container",
                ));
            }
        }
        for (i, mount) in container.objects("volumeMounts") {
            for field in ["subPath", "subPathExpr"] {
                if !mount.text(field).is_empty() {
                    errors.push(FieldError::forbidden(
                        &at.child("volumeMounts").index(i).child(field),
                        "cannot be set for an Ephemeral Container",
                    ));
                }
            }
        }
    }
}

fn duplicate_name<'a>(
    errors: &mut ErrorList,
    at: &Path,
    container: &'a Object,
    seen: &mut Vec<&'a str>,
) {
    let name = container.text("name");
    if name.is_empty() {
        return;
    }
    if seen.contains(&name) {
        errors.push(FieldError::duplicate(&at.child("name"), name));
    }
    seen.push(name);
}

fn container_common(errors: &mut ErrorList, at: &Path, container: &Object, context: &Context<'_>) {
    let name = container.text("name");
    if name.is_empty() {
        errors.push(FieldError::required(&at.child("name"), ""));
    } else {
        text(errors, &at.child("name"), name, names::dns1123_label(name));
    }
    let image = container.text("image");
    // A template may leave the image to the controller that stamps it out; a pod may not.
    if image.is_empty() && !context.image_optional {
        errors.push(FieldError::required(&at.child("image"), ""));
    } else if image.trim() != image {
        errors.push(FieldError::invalid(
            &at.child("image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
    if container.has("terminationMessagePolicy") {
        one_of(
            errors,
            &at.child("terminationMessagePolicy"),
            container.text("terminationMessagePolicy"),
            &["FallbackToLogsOnError", "File"],
        );
    }
    container_ports(errors, &at.child("ports"), container);
    environment::env(errors, &at.child("env"), container);
    environment::env_from(errors, &at.child("envFrom"), container);
    volume_mounts(errors, &at.child("volumeMounts"), container, context);
    volume_devices(errors, &at.child("volumeDevices"), container, context);
    one_of(
        errors,
        &at.child("imagePullPolicy"),
        container.text("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    if let Some(requirements) = container.object("resources") {
        resources::requirements(errors, &at.child("resources"), requirements);
    }
    for (index, policy) in container.objects("resizePolicy") {
        let _ = index;
        let path = at.child("resizePolicy");
        one_of(
            errors,
            &path,
            policy.text("resourceName"),
            &["cpu", "memory"],
        );
        one_of(
            errors,
            &path,
            policy.text("restartPolicy"),
            &["NotRequired", "RestartContainer"],
        );
    }
    if let Some(security_context) = container.object("securityContext") {
        security::of_container(errors, &at.child("securityContext"), security_context);
    }
}

fn container_ports(errors: &mut ErrorList, path: &Path, container: &Object) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, port) in container.objects("ports") {
        let at = path.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            let messages = names::port_name(name);
            if messages.is_empty() && seen.contains(&name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            }
            text(errors, &at.child("name"), name, messages);
            seen.push(name);
        }
        match port.int("containerPort").unwrap_or(0) {
            0 => errors.push(FieldError::required(&at.child("containerPort"), "")),
            number => ports::number(errors, &at.child("containerPort"), number),
        }
        match port.int("hostPort").unwrap_or(0) {
            0 => {}
            number => ports::number(errors, &at.child("hostPort"), number),
        }
        if port.text("protocol").is_empty() {
            errors.push(FieldError::required(&at.child("protocol"), ""));
        } else {
            one_of(
                errors,
                &at.child("protocol"),
                port.text("protocol"),
                &["SCTP", "TCP", "UDP"],
            );
        }
    }
}

/// Two containers of one pod cannot have the same port of the host.
fn host_port_conflicts(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let mut seen: Vec<String> = Vec::new();
    for (ci, container) in spec.objects("containers") {
        for (pi, port) in container.objects("ports") {
            let number = port.int("hostPort").unwrap_or(0);
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
            if seen.contains(&key) {
                errors.push(FieldError::duplicate(
                    &path.index(ci).child("ports").index(pi).child("hostPort"),
                    key.clone(),
                ));
            }
            seen.push(key);
        }
    }
}

fn volume_mounts(errors: &mut ErrorList, path: &Path, container: &Object, context: &Context<'_>) {
    let mut paths: Vec<&str> = Vec::new();
    for (index, mount) in container.objects("volumeMounts") {
        let at = path.index(index);
        let (name, target) = (mount.text("name"), mount.text("mountPath"));
        known_volume(errors, &at, name, context);
        if target.is_empty() {
            errors.push(FieldError::required(&at.child("mountPath"), ""));
        }
        if paths.contains(&target) {
            errors.push(FieldError::invalid(
                &at.child("mountPath"),
                target,
                "must be unique",
            ));
        }
        paths.push(target);
        if names_one_of(container, "volumeDevices", "name", name) {
            errors.push(FieldError::invalid(
                &at.child("name"),
                name,
                "must not already exist in volumeDevices",
            ));
        }
        if names_one_of(container, "volumeDevices", "devicePath", target) {
            errors.push(FieldError::invalid(
                &at.child("mountPath"),
                target,
                "must not already exist as a path in volumeDevices",
            ));
        }
        sub_path(errors, path, &at, mount);
        // From here on, upstream names the list, not the item.
        propagation(errors, &path.child("mountPropagation"), mount, container);
        recursive_read_only(errors, &path.child("recursiveReadOnly"), mount);
    }
}

fn names_one_of(container: &Object, list: &str, field: &str, value: &str) -> bool {
    !value.is_empty() && container.objects(list).any(|(_, o)| o.text(field) == value)
}

fn sub_path(errors: &mut ErrorList, path: &Path, at: &Path, mount: &Object) {
    let (plain, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
    if !plain.is_empty() {
        descending_path(errors, &path.child("subPath"), plain);
    }
    if !expression.is_empty() {
        if !plain.is_empty() {
            errors.push(FieldError::invalid(
                &at.child("subPathExpr"),
                expression,
                "subPathExpr and subPath are mutually exclusive",
            ));
        }
        descending_path(errors, &path.child("subPathExpr"), expression);
    }
}

fn propagation(errors: &mut ErrorList, path: &Path, mount: &Object, container: &Object) {
    let Some(mode) = mount.text_opt("mountPropagation") else {
        return;
    };
    one_of(
        errors,
        path,
        mode,
        &["Bidirectional", "HostToContainer", "None"],
    );
    let privileged = container
        .object("securityContext")
        .is_some_and(|c| c.is_true("privileged"));
    if mode == "Bidirectional" && !privileged {
        errors.push(FieldError::forbidden(
            path,
            "Bidirectional mount propagation is available only to privileged containers",
        ));
    }
}

fn recursive_read_only(errors: &mut ErrorList, path: &Path, mount: &Object) {
    let Some(mode) = mount.text_opt("recursiveReadOnly") else {
        return;
    };
    match mode {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.is_true("readOnly") {
                errors.push(FieldError::forbidden(
                    path,
                    "may only be specified when readOnly is true",
                ));
            }
            if !matches!(mount.text("mountPropagation"), "" | "None") {
                errors.push(FieldError::forbidden(
                    path,
                    "may only be specified when mountPropagation is None or not specified",
                ));
            }
        }
        other => errors.push(FieldError::not_supported(
            path,
            other,
            &["Disabled", "Enabled", "IfPossible"],
        )),
    }
}

fn known_volume(errors: &mut ErrorList, at: &Path, name: &str, context: &Context<'_>) {
    if name.is_empty() {
        errors.push(FieldError::required(&at.child("name"), ""));
    }
    if !context.volumes.contains(&name) {
        errors.push(FieldError::not_found(&at.child("name"), name));
    }
}

fn volume_devices(errors: &mut ErrorList, path: &Path, container: &Object, context: &Context<'_>) {
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (index, device) in container.objects("volumeDevices") {
        let at = path.index(index);
        let (name, target) = (device.text("name"), device.text("devicePath"));
        let invalid = |field: &str, value: &str, detail: &str| {
            FieldError::invalid(&at.child(field), value, detail)
        };
        if name.is_empty() {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
        if names.contains(&name) {
            errors.push(invalid("name", name, "must be unique"));
        }
        if !context.volumes.contains(&name) {
            errors.push(FieldError::not_found(&at.child("name"), name));
        } else if !context.claims.contains(&name) {
            errors.push(invalid(
                "name",
                name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            ));
        }
        if target.is_empty() {
            errors.push(FieldError::required(&at.child("devicePath"), ""));
        }
        if paths.contains(&target) {
            errors.push(invalid("devicePath", target, "must be unique"));
        }
        if target.split('/').any(|part| part == "..") {
            errors.push(invalid(
                "devicePath",
                target,
                "can not contain backsteps ('..')",
            ));
        } else {
            paths.push(target);
        }
        if names_one_of(container, "volumeMounts", "name", name) {
            errors.push(invalid(
                "name",
                name,
                "must not already exist in volumeMounts",
            ));
        }
        if names_one_of(container, "volumeMounts", "mountPath", target) {
            errors.push(invalid(
                "devicePath",
                target,
                "must not already exist as a path in volumeMounts",
            ));
        }
        if !name.is_empty() {
            names.push(name);
        }
    }
}

/// A path below some root: relative, and never upwards.
pub(super) fn descending_path(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(errors, path, value);
}

/// No part of a path is `..`.
pub(super) fn no_backsteps(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}
