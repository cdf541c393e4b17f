//! What a pod's operating system rules out.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::all_containers;
use crate::{fields::Fields, validate::one_of};

/// `spec.os`, and the fields that the system named by it does not have.
pub(super) fn validate(errors: &mut ErrorList, path: &Path, spec: &Object, name: &str) {
    let at = path.child("os");
    match name {
        "" => errors.push(FieldError::required(&at.child("name"), "")),
        "linux" => forbid(
            errors,
            path,
            spec,
            &[(IN_CONTEXT, "windowsOptions")],
            &["windowsOptions"],
            "windows options cannot be set for a linux pod",
        ),
        "windows" => forbid(
            errors,
            path,
            spec,
            POD_FIELDS,
            CONTAINER_FIELDS,
            "cannot be set for a windows pod",
        ),
        other => one_of(errors, &at, other, &["linux", "windows"]),
    }
}

/// A field of the pod's security context; the others stand in its spec.
const IN_CONTEXT: bool = true;
const IN_SPEC: bool = false;

/// Fields that pods of Windows do not have, in the order in which upstream looks for them.
const POD_FIELDS: &[(bool, &str)] = &[
    (IN_CONTEXT, "appArmorProfile"),
    (IN_CONTEXT, "seLinuxOptions"),
    (IN_SPEC, "hostUsers"),
    (IN_SPEC, "hostPID"),
    (IN_SPEC, "hostIPC"),
    (IN_CONTEXT, "seccompProfile"),
    (IN_CONTEXT, "fsGroup"),
    (IN_CONTEXT, "fsGroupChangePolicy"),
    (IN_CONTEXT, "sysctls"),
    (IN_SPEC, "shareProcessNamespace"),
    (IN_CONTEXT, "runAsUser"),
    (IN_CONTEXT, "runAsGroup"),
    (IN_CONTEXT, "supplementalGroups"),
    (IN_CONTEXT, "supplementalGroupsPolicy"),
    (IN_CONTEXT, "seLinuxChangePolicy"),
];

/// Likewise of their containers' security contexts.
const CONTAINER_FIELDS: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

fn forbid(
    errors: &mut ErrorList,
    path: &Path,
    spec: &Object,
    of_pod: &[(bool, &str)],
    of_container: &[&str],
    detail: &str,
) {
    let context = spec.object("securityContext");
    for (in_context, field) in of_pod {
        let (owner, at) = if *in_context {
            (context, path.child("securityContext"))
        } else {
            (Some(spec), path.clone())
        };
        if owner.is_some_and(|owner| is_set(owner, field)) {
            errors.push(FieldError::forbidden(&at.child(field), detail));
        }
    }
    for (at, container) in all_containers(path, spec) {
        let Some(context) = container.object("securityContext") else {
            continue;
        };
        for field in of_container.iter().filter(|field| context.has(field)) {
            let at = at.child("securityContext").child(field);
            errors.push(FieldError::forbidden(&at, detail));
        }
    }
}

/// Whether a field says something: flags without a pointer and lists are nothing when they are off or empty.
fn is_set(owner: &Object, field: &str) -> bool {
    match field {
        "hostPID" | "hostIPC" => owner.is_true(field),
        "sysctls" => !owner.list(field).is_empty(),
        _ => owner.has(field),
    }
}
