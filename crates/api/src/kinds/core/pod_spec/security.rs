//! Rules of security contexts.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::windows;
use crate::{
    fields::Fields,
    internal,
    kinds::core::volume_source::descending_path,
    validate::{invalid_shown, one_of},
};

const MAX_ID: i64 = i32::MAX as i64;

fn id(errors: &mut ErrorList, path: &Path, value: Option<i64>) {
    if let Some(value) = value.filter(|v| !(0..=MAX_ID).contains(v)) {
        errors.push(FieldError::invalid(
            path,
            value,
            format!("must be between 0 and {MAX_ID}, inclusive"),
        ));
    }
}

/// `seccompProfile`.
fn seccomp(errors: &mut ErrorList, path: &Path, context: &Object) {
    let Some(profile) = context.object("seccompProfile") else {
        return;
    };
    let path = path.child("seccompProfile");
    let kind = profile.text("type");
    let at = path.child("type");
    match kind {
        "" => errors.push(FieldError::required(
            &at,
            "type is required when seccompProfile is set",
        )),
        _ => one_of(errors, &at, kind, PROFILE_TYPES),
    }
    let at = path.child("localhostProfile");
    match (kind == "Localhost", profile.text_opt("localhostProfile")) {
        (true, None) => errors.push(FieldError::required(
            &at,
            "must be set when seccomp type is Localhost",
        )),
        (true, Some(file)) => descending_path(errors, &at, file),
        (false, None) => {}
        (false, Some(_)) => errors.push(invalid_shown(
            &at,
            &internal::shown(
                "io.k8s.api.core.v1.SeccompProfile",
                context.get("seccompProfile"),
            ),
            "can only be set when seccomp type is Localhost",
        )),
    }
}

const PROFILE_TYPES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

/// `appArmorProfile`.
fn app_armor(errors: &mut ErrorList, path: &Path, context: &Object) {
    const MAX_NAME: usize = 4095;
    const MISSING: &str = "must be set when AppArmor type is Localhost";
    let Some(profile) = context.object("appArmorProfile") else {
        return;
    };
    let path = path.child("appArmorProfile");
    let at = path.child("localhostProfile");
    let name = profile.text_opt("localhostProfile");
    match profile.text("type") {
        "Localhost" => {
            let Some(name) = name else {
                errors.push(FieldError::required(&at, MISSING));
                return;
            };
            if name.trim() != name {
                let detail = "must not be padded with whitespace";
                errors.push(FieldError::invalid(&at, name, detail));
            } else if name.is_empty() {
                errors.push(FieldError::required(&at, MISSING));
            }
            if name.len() > MAX_NAME {
                errors.push(FieldError::too_long(&at, MAX_NAME));
            }
        }
        "RuntimeDefault" | "Unconfined" => errors.extend(name.map(|name| {
            let detail = "can only be set when AppArmor type is Localhost";
            FieldError::invalid(&at, name, detail)
        })),
        "" => errors.push(FieldError::required(
            &path.child("type"),
            "type is required when appArmorProfile is set",
        )),
        other => one_of(errors, &path.child("type"), other, PROFILE_TYPES),
    }
}

/// Of a container.
pub(super) fn of_container(
    errors: &mut ErrorList,
    path: &Path,
    context: &Object,
    host_users: bool,
) {
    id(errors, &path.child("runAsUser"), context.int("runAsUser"));
    id(errors, &path.child("runAsGroup"), context.int("runAsGroup"));
    if let Some(mount) = context.text_opt("procMount") {
        let at = path.child("procMount");
        one_of(errors, &at, mount, &["Default", "Unmasked"]);
        if host_users && mount == "Unmasked" {
            let detail = "`hostUsers` must be false to use `Unmasked`";
            errors.push(FieldError::invalid(&at, mount, detail));
        }
    }
    seccomp(errors, path, context);
    if context.bool_opt("allowPrivilegeEscalation") == Some(false) {
        let mut refuse = |what: &str| {
            let context = Value::Object(context.clone());
            let shown = internal::shown("io.k8s.api.core.v1.SecurityContext", Some(&context));
            let detail = format!("cannot set `allowPrivilegeEscalation` to false and {what}");
            errors.push(invalid_shown(path, &shown, &detail));
        };
        if context.is_true("privileged") {
            refuse("`privileged` to true");
        }
        let added = context.object("capabilities").into_iter();
        for capability in added.flat_map(|c| c.texts("add")) {
            if capability == "CAP_SYS_ADMIN" {
                refuse("`capabilities.Add` CAP_SYS_ADMIN");
            }
        }
    }
    windows(errors, path, context);
    app_armor(errors, path, context);
}

fn windows(errors: &mut ErrorList, path: &Path, context: &Object) {
    if let Some(options) = context.object("windowsOptions") {
        windows::options(errors, &path.child("windowsOptions"), options);
    }
}

/// Processes cannot be shared in the pod alone and with the host. (The field is part of upstream's internal security context.)
pub(super) fn shared_processes(errors: &mut ErrorList, path: &Path, spec: &Object) {
    if spec.is_true("shareProcessNamespace") && spec.is_true("hostPID") {
        errors.push(FieldError::invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
}

/// Of a pod.
pub(super) fn of_pod(errors: &mut ErrorList, path: &Path, context: &Object, spec: &Object) {
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(errors, &path.child(field), context.int(field));
    }
    for (index, group) in context.list("supplementalGroups").iter().enumerate() {
        let at = path.child("supplementalGroups").index(index);
        id(errors, &at, group.as_i64());
    }
    shared_processes(errors, path, spec);
    sysctls(errors, &path.child("sysctls"), context, spec);
    if let Some(policy) = context.text_opt("fsGroupChangePolicy") {
        let at = path.child("fsGroupChangePolicy");
        one_of(errors, &at, policy, &["Always", "OnRootMismatch"]);
    }
    seccomp(errors, path, context);
    windows(errors, path, context);
    app_armor(errors, path, context);
    if let Some(policy) = context.text_opt("supplementalGroupsPolicy") {
        let at = path.child("supplementalGroupsPolicy");
        one_of(errors, &at, policy, &["Merge", "Strict"]);
    }
    // The other policy belongs to a gate that 1.36 leaves closed (`SELinuxMount`).
    if let Some(policy) = context.text_opt("seLinuxChangePolicy") {
        let at = path.child("seLinuxChangePolicy");
        one_of(errors, &at, policy, &["Recursive"]);
    }
}

fn sysctls(errors: &mut ErrorList, path: &Path, context: &Object, spec: &Object) {
    const FORM: &str = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, sysctl) in context.objects("sysctls") {
        let at = path.index(index).child("name");
        let name = sysctl.text("name");
        if name.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if !is_sysctl(name) {
            errors.push(FieldError::invalid(&at, name, FORM));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at, name));
        }
        // What is the host's is not the pod's to set.
        for (field, namespaced) in [
            ("hostNetwork", is_of_network(name)),
            ("hostIPC", is_of_ipc(name)),
        ] {
            if spec.is_true(field) && namespaced {
                let detail = format!("may not be specified when '{field}' is true");
                errors.push(FieldError::invalid(&at, name, detail));
                break;
            }
        }
        seen.insert(name);
    }
}

/// `net/ipv4/tcp_syncookies` as `net.ipv4.tcp_syncookies`: whichever separator comes first is the one that separates.
fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => name
            .chars()
            .map(|c| match c {
                '/' => '.',
                '.' => '/',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn is_of_network(name: &str) -> bool {
    dotted(name).starts_with("net.")
}

fn is_of_ipc(name: &str) -> bool {
    let name = dotted(name);
    name == "kernel.sem"
        || ["kernel.shm", "kernel.msg", "fs.mqueue."]
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn is_sysctl(name: &str) -> bool {
    let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.split(['.', '/']).all(|segment| {
            let bytes = segment.as_bytes();
            bytes.first().is_some_and(|b| lower(*b))
                && bytes.last().is_some_and(|b| lower(*b))
                && bytes.iter().all(|b| lower(*b) || matches!(b, b'-' | b'_'))
        })
}
