//! Rules of containers: names, images, ports, mounts.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::{Context, environment, probes, resources, security};
use crate::{
    fields::Fields,
    kinds::core::volume_source::descending_path,
    names,
    validate::{one_of, ports, required_text, text},
};

/// `spec.containers`.
pub(super) fn validate(errors: &mut ErrorList, path: &Path, spec: &Object, context: &Context<'_>) {
    if spec.list("containers").is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, container) in spec.objects("containers") {
        let at = path.index(index);
        container_common(errors, &at, container, context);
        unique_name(errors, &at, container, &mut seen);
        if let Some(lifecycle) = container.object("lifecycle") {
            probes::lifecycle(errors, &at.child("lifecycle"), lifecycle, context);
        }
        probes::of_container(errors, &at, container, context);
        restart_policy(errors, &at, container);
    }
    host_port_conflicts(errors, path, spec.objects("containers"));
}

/// `spec.initContainers`; those that restart are sidecars, and may have probes and hooks.
pub(super) fn validate_init(
    errors: &mut ErrorList,
    path: &Path,
    spec: &Object,
    context: &Context<'_>,
) {
    let mut seen: BTreeSet<&str> = spec
        .objects("containers")
        .map(|(_, c)| c.text("name"))
        .collect();
    for (index, container) in spec.objects("initContainers") {
        let at = path.index(index);
        container_common(errors, &at, container, context);
        restart_policy(errors, &at, container);
        if container.text("name").is_empty() && !seen.contains(&"") {
            // Containers without a name are not each other's doubles here.
        } else {
            unique_name(errors, &at, container, &mut seen);
        }
        // One container after the other, and upstream counts each as the first.
        host_port_conflicts(errors, path, std::iter::once((0, container)));
        let sidecar = container.text("restartPolicy") == "Always";
        if sidecar {
            if let Some(lifecycle) = container.object("lifecycle") {
                probes::lifecycle(errors, &at.child("lifecycle"), lifecycle, context);
            }
            probes::of_container(errors, &at, container, context);
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
        for (i, policy) in container.objects("resizePolicy") {
            let policy = policy.text("restartPolicy");
            if policy == "RestartContainer" {
                errors.push(FieldError::invalid(
                    &at.child("resizePolicy").index(i).child("restartPolicy"),
                    policy,
                    "must not be set to 'RestartContainer' for non-sidecar initContainers",
                ));
            }
        }
    }
}

/// Each name stands once.
pub(super) fn unique_name<'a>(
    errors: &mut ErrorList,
    at: &Path,
    container: &'a Object,
    seen: &mut BTreeSet<&'a str>,
) {
    let name = container.text("name");
    if !seen.insert(name) {
        errors.push(FieldError::duplicate(&at.child("name"), name));
    }
}

/// The image of a pod's container; that of a template's is judged when a pod is made of it.
pub(crate) fn image_of_pod(errors: &mut ErrorList, at: &Path, container: &Object) {
    let image = container.text("image");
    if image.trim() != image {
        errors.push(FieldError::invalid(
            &at.child("image"),
            image,
            "must not have leading or trailing whitespace",
        ));
    }
}

/// What holds for containers of all sorts.
pub(super) fn container_common(
    errors: &mut ErrorList,
    at: &Path,
    container: &Object,
    context: &Context<'_>,
) {
    let name = container.text("name");
    required_text(errors, &at.child("name"), name, names::dns1123_label);
    if container.text("image").is_empty() {
        errors.push(FieldError::required(&at.child("image"), ""));
    }
    required_one_of(
        errors,
        &at.child("terminationMessagePolicy"),
        container.text("terminationMessagePolicy"),
        &["File", "FallbackToLogsOnError"],
    );
    container_ports(errors, &at.child("ports"), container);
    environment::env(errors, &at.child("env"), container);
    environment::env_from(errors, &at.child("envFrom"), container);
    volume_mounts(errors, &at.child("volumeMounts"), container, context);
    volume_devices(errors, &at.child("volumeDevices"), container, context);
    required_one_of(
        errors,
        &at.child("imagePullPolicy"),
        container.text("imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
    if let Some(requirements) = container.object("resources") {
        let at = at.child("resources");
        resources::of_container(errors, &at, requirements, &context.resource_claims);
    }
    resize_policy(errors, &at.child("resizePolicy"), container, context);
    if let Some(security_context) = container.object("securityContext") {
        let at = at.child("securityContext");
        security::of_container(errors, &at, security_context, context.host_users);
    }
}

/// A text that must be there, and one of `supported`.
pub(super) fn required_one_of(
    errors: &mut ErrorList,
    path: &Path,
    value: &str,
    supported: &[&str],
) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        one_of(errors, path, value, supported);
    }
}

/// What a resize does to a container; upstream names the list alone.
fn resize_policy(errors: &mut ErrorList, path: &Path, container: &Object, context: &Context<'_>) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, policy) in container.objects("resizePolicy") {
        let resource = policy.text("resourceName");
        if !seen.insert(resource) {
            errors.push(FieldError::duplicate(&path.index(index), resource));
        }
        required_one_of(errors, path, resource, &["cpu", "memory"]);
        let restart = policy.text("restartPolicy");
        required_one_of(errors, path, restart, &["NotRequired", "RestartContainer"]);
        if context.restart_policy == "Never" && restart != "NotRequired" {
            errors.push(FieldError::invalid(
                path,
                restart,
                "must be 'NotRequired' when pod `restartPolicy` is 'Never'",
            ));
        }
    }
}

/// A container's own restart policy, and its rules.
fn restart_policy(errors: &mut ErrorList, at: &Path, container: &Object) {
    const MAX_RULES: usize = 20;
    const MAX_VALUES: usize = 255;
    let rules = container.list("restartPolicyRules").len();
    let path = at.child("restartPolicy");
    match container.text_opt("restartPolicy") {
        None if rules == 0 => return,
        None => errors.push(FieldError::required(
            &path,
            "must specify restartPolicy when restart rules are used",
        )),
        Some(policy) => one_of(errors, &path, policy, &["Always", "Never", "OnFailure"]),
    }
    let path = at.child("restartPolicyRules");
    if rules > MAX_RULES {
        errors.push(FieldError::too_many(&path, rules, MAX_RULES));
    }
    for (index, rule) in container.objects("restartPolicyRules") {
        let at = path.index(index);
        one_of(
            errors,
            &at.child("action"),
            rule.text("action"),
            &["Restart", "RestartAllContainers"],
        );
        let at = at.child("exitCodes");
        let Some(codes) = rule.object("exitCodes") else {
            errors.push(FieldError::required(&at, "must be specified"));
            continue;
        };
        one_of(
            errors,
            &at.child("operator"),
            codes.text("operator"),
            &["In", "NotIn"],
        );
        let values = codes.list("values").len();
        if values > MAX_VALUES {
            errors.push(FieldError::too_many(
                &at.child("values"),
                values,
                MAX_VALUES,
            ));
        }
    }
}

fn container_ports(errors: &mut ErrorList, path: &Path, container: &Object) {
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, port) in container.objects("ports") {
        let at = path.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            let messages = names::port_name(name);
            if !messages.is_empty() {
                text(errors, &at.child("name"), name, messages);
            } else if !seen.insert(name) {
                errors.push(FieldError::duplicate(&at.child("name"), name));
            }
        }
        match port.int("containerPort").unwrap_or(0) {
            0 => errors.push(FieldError::required(&at.child("containerPort"), "")),
            number => ports::number(errors, &at.child("containerPort"), number),
        }
        match port.int("hostPort").unwrap_or(0) {
            0 => {}
            number => ports::number(errors, &at.child("hostPort"), number),
        }
        required_one_of(
            errors,
            &at.child("protocol"),
            port.text("protocol"),
            &["SCTP", "TCP", "UDP"],
        );
    }
}

/// Two containers of one pod cannot have the same port of the host.
fn host_port_conflicts<'a>(
    errors: &mut ErrorList,
    path: &Path,
    containers: impl Iterator<Item = (usize, &'a Object)>,
) {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for (ci, container) in containers {
        for (pi, port) in container.objects("ports") {
            let number = port.int("hostPort").unwrap_or(0);
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
            if seen.contains(&key) {
                let at = path.index(ci).child("ports").index(pi).child("hostPort");
                errors.push(FieldError::duplicate(&at, key));
            } else {
                seen.insert(key);
            }
        }
    }
}

fn volume_mounts(errors: &mut ErrorList, path: &Path, container: &Object, context: &Context<'_>) {
    let mut paths: BTreeSet<&str> = BTreeSet::new();
    let devices = texts_of(container, "volumeDevices", "name");
    let device_paths = texts_of(container, "volumeDevices", "devicePath");
    for (index, mount) in container.objects("volumeMounts") {
        let at = path.index(index);
        let (name, target) = (mount.text("name"), mount.text("mountPath"));
        known_volume(errors, &at, name, context);
        if target.is_empty() {
            errors.push(FieldError::required(&at.child("mountPath"), ""));
        }
        if !paths.insert(target) {
            errors.push(FieldError::invalid(
                &at.child("mountPath"),
                target,
                "must be unique",
            ));
        }
        if devices.contains(name) {
            errors.push(FieldError::invalid(
                &at.child("name"),
                name,
                "must not already exist in volumeDevices",
            ));
        }
        if device_paths.contains(target) {
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

/// What the items of a list have in a field.
fn texts_of<'a>(container: &'a Object, list: &str, field: &str) -> BTreeSet<&'a str> {
    container
        .objects(list)
        .map(|(_, o)| o.text(field))
        .collect()
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
    let (mut names, mut paths): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    let mounts = texts_of(container, "volumeMounts", "name");
    let mount_paths = texts_of(container, "volumeMounts", "mountPath");
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
            paths.insert(target);
        }
        if mounts.contains(name) {
            errors.push(invalid(
                "name",
                name,
                "must not already exist in volumeMounts",
            ));
        }
        if mount_paths.contains(target) {
            errors.push(invalid(
                "devicePath",
                target,
                "must not already exist as a path in volumeMounts",
            ));
        }
        if !name.is_empty() {
            names.insert(name);
        }
    }
}
