//! Rules of security contexts.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{fields::Fields, validate::one_of};

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

fn profiles(errors: &mut ErrorList, path: &Path, context: &Object) {
    for name in ["seccompProfile", "appArmorProfile"] {
        let Some(profile) = context.object(name) else {
            continue;
        };
        let at = path.child(name);
        let localhost = profile.has("localhostProfile");
        match profile.text("type") {
            "Localhost" if !localhost => errors.push(FieldError::required(
                &at.child("localhostProfile"),
                if name == "seccompProfile" {
                    "must be set when seccomp type is Localhost"
                } else {
                    "must be set when AppArmor type is Localhost"
                },
            )),
            "Localhost" => {}
            "RuntimeDefault" | "Unconfined" if localhost => errors.push(FieldError::invalid(
                &at.child("localhostProfile"),
                profile.text("localhostProfile"),
                if name == "seccompProfile" {
                    "can only be set when seccomp type is Localhost"
                } else {
                    "can only be set when AppArmor type is Localhost"
                },
            )),
            "RuntimeDefault" | "Unconfined" => {}
            "" => errors.push(FieldError::required(
                &at.child("type"),
                "type is required when profile is set",
            )),
            other => errors.push(FieldError::not_supported(
                &at.child("type"),
                other,
                &["Localhost", "RuntimeDefault", "Unconfined"],
            )),
        }
    }
}

/// Of a container.
pub(super) fn of_container(errors: &mut ErrorList, path: &Path, context: &Object) {
    id(errors, &path.child("runAsUser"), context.int("runAsUser"));
    id(errors, &path.child("runAsGroup"), context.int("runAsGroup"));
    if context.has("procMount") {
        one_of(
            errors,
            &path.child("procMount"),
            context.text("procMount"),
            &["Default", "Unmasked"],
        );
    }
    profiles(errors, path, context);
    if context.bool_opt("allowPrivilegeEscalation") == Some(false) {
        if context.is_true("privileged") {
            errors.push(FieldError::invalid(
                path,
                serde_json::Value::Object(context.clone()),
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            ));
        }
        let added = context
            .object("capabilities")
            .is_some_and(|c| c.texts("add").any(|a| a == "CAP_SYS_ADMIN"));
        if added {
            errors.push(FieldError::invalid(
                path,
                serde_json::Value::Object(context.clone()),
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            ));
        }
    }
}

/// Of a pod.
pub(super) fn of_pod(errors: &mut ErrorList, path: &Path, context: &Object, spec: &Object) {
    id(errors, &path.child("fsGroup"), context.int("fsGroup"));
    id(errors, &path.child("runAsUser"), context.int("runAsUser"));
    id(errors, &path.child("runAsGroup"), context.int("runAsGroup"));
    for (index, group) in context.list("supplementalGroups").iter().enumerate() {
        id(
            errors,
            &path.child("supplementalGroups").index(index),
            group.as_i64(),
        );
    }
    if spec.is_true("shareProcessNamespace") && spec.is_true("hostPID") {
        errors.push(FieldError::invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, sysctl) in context.objects("sysctls") {
        let at = path.child("sysctls").index(index).child("name");
        let name = sysctl.text("name");
        if name.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else if !is_sysctl(name) {
            errors.push(FieldError::invalid(
                &at,
                name,
                r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            ));
        } else if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at, name));
        }
        seen.push(name);
    }
    if context.has("fsGroupChangePolicy") {
        one_of(
            errors,
            &path.child("fsGroupChangePolicy"),
            context.text("fsGroupChangePolicy"),
            &["Always", "OnRootMismatch"],
        );
    }
    profiles(errors, path, context);
    if context.has("supplementalGroupsPolicy") {
        one_of(
            errors,
            &path.child("supplementalGroupsPolicy"),
            context.text("supplementalGroupsPolicy"),
            &["Merge", "Strict"],
        );
    }
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
