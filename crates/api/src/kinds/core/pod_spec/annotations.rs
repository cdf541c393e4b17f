//! Annotations of pods that mean something to the API server: mirror pods, the cost of deletion, and the profiles that stood in
//! annotations before there were fields.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    quote,
};

use super::all_containers;
use crate::{fields::Fields, kinds::core::volume_source::descending_path};

pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub(crate) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const LOCALHOST: &str = "localhost/";

/// The annotations of a pod or template; `path` is that of the map.
pub(crate) fn validate(errors: &mut ErrorList, path: &Path, owner: &Object) {
    let empty = Object::new();
    let spec = owner.object("spec").unwrap_or(&empty);
    let Some(annotations) = owner
        .object("metadata")
        .and_then(|m| m.object("annotations"))
    else {
        return;
    };
    if let Some(value) = annotations.text_opt(MIRROR)
        && spec.text("nodeName").is_empty()
    {
        errors.push(FieldError::invalid(
            &path.key(MIRROR),
            value,
            "must set spec.nodeName if mirror pod annotation is set",
        ));
    }
    if let Some(cost) = annotations.text_opt(DELETION_COST)
        && !is_cost(cost)
    {
        errors.push(FieldError::invalid(
            &path.key(DELETION_COST),
            cost,
            "must be a 32bit integer",
        ));
    }
    if let Some(profile) = annotations.text_opt(SECCOMP_OF_POD) {
        seccomp_profile(errors, &path.child(SECCOMP_OF_POD), profile);
    }
    for (key, value) in annotations {
        let profile = value.as_str().unwrap_or_default();
        if key.starts_with(SECCOMP_OF_CONTAINER) {
            seccomp_profile(errors, &path.child(key), profile);
        }
    }
    for (key, value) in annotations {
        let Some(container) = key.strip_prefix(APP_ARMOR) else {
            continue;
        };
        let at = path.key(key);
        let nowhere = Path::default();
        if !all_containers(&nowhere, spec).any(|(_, c)| c.text("name") == container) {
            errors.push(FieldError::invalid(&at, container, "container not found"));
        }
        let profile = value.as_str().unwrap_or_default();
        if !matches!(profile, "" | "runtime/default" | "unconfined")
            && !profile.starts_with(LOCALHOST)
        {
            let detail = format!("invalid AppArmor profile name: {}", quote(profile));
            errors.push(FieldError::invalid(&at, profile, detail));
        }
    }
}

/// A 32-bit integer without a plus or zeros before it.
fn is_cost(cost: &str) -> bool {
    let first = cost.bytes().next();
    let begins = first.is_some_and(|b| b == b'-' || (b'1'..=b'9').contains(&b)) || cost == "0";
    begins && cost.parse::<i32>().is_ok()
}

fn seccomp_profile(errors: &mut ErrorList, path: &Path, profile: &str) {
    match profile {
        "runtime/default" | "docker/default" | "unconfined" => {}
        _ => match profile.strip_prefix(LOCALHOST) {
            Some(file) => descending_path(errors, path, file),
            None => errors.push(FieldError::invalid(
                path,
                profile,
                "must be a valid seccomp profile",
            )),
        },
    }
}

/// Where a profile stands in an annotation and in a field, the two must say the same: seccomp of pods and templates.
pub(crate) fn match_seccomp_fields(errors: &mut ErrorList, owner: &Object, path: &Path) {
    let Some((annotations, spec)) = parts(owner) else {
        return;
    };
    const DEFAULTS: &[&str] = &["runtime/default", "docker/default"];
    if let Some(field) = profile_of(spec, "seccompProfile")
        && let Some(annotation) = annotations.text_opt(SECCOMP_OF_POD)
    {
        let at = path.child("securityContext").child("seccompProfile");
        errors.extend(mismatch(annotation, field, &at, DEFAULTS, "seccomp"));
    }
    for (at, container) in all_containers(path, spec) {
        let key = format!("{SECCOMP_OF_CONTAINER}{}", container.text("name"));
        if let Some(field) = profile_of(container, "seccompProfile")
            && let Some(annotation) = annotations.text_opt(&key)
        {
            let at = at.child("securityContext").child("seccompProfile");
            errors.extend(mismatch(annotation, field, &at, DEFAULTS, "seccomp"));
        }
    }
}

/// Likewise AppArmor of a new pod; the pod's profile stands for that of a container without one.
pub(crate) fn match_app_armor_fields(errors: &mut ErrorList, pod: &Object, path: &Path) {
    let Some((annotations, spec)) = parts(pod) else {
        return;
    };
    if spec
        .object("os")
        .is_some_and(|os| os.text("name") == "windows")
    {
        return;
    }
    let of_pod = profile_of(spec, "appArmorProfile");
    for (at, container) in all_containers(path, spec) {
        let key = format!("{APP_ARMOR}{}", container.text("name"));
        if let Some(field) = profile_of(container, "appArmorProfile").or(of_pod)
            && let Some(annotation) = annotations.text_opt(&key)
        {
            let at = at.child("securityContext").child("appArmorProfile");
            let defaults = &["runtime/default"];
            errors.extend(mismatch(annotation, field, &at, defaults, "apparmor"));
        }
    }
}

fn parts(owner: &Object) -> Option<(&Object, &Object)> {
    let annotations = owner.object("metadata")?.object("annotations")?;
    Some((annotations, owner.object("spec")?))
}

fn profile_of<'a>(owner: &'a Object, field: &str) -> Option<&'a Object> {
    owner.object("securityContext")?.object(field)
}

fn mismatch(
    annotation: &str,
    field: &Object,
    path: &Path,
    defaults: &[&str],
    what: &str,
) -> Option<FieldError> {
    let (wrong, part, noun) = match field.text("type") {
        "Unconfined" => (annotation != "unconfined", "type", "type"),
        "RuntimeDefault" => (!defaults.contains(&annotation), "type", "type"),
        "Localhost" => match annotation.strip_prefix(LOCALHOST) {
            None => (true, "type", "type"),
            Some(file) => {
                let other = field.text_opt("localhostProfile") != Some(file);
                (other, "localhostProfile", "profile")
            }
        },
        _ => return None,
    };
    wrong.then(|| {
        let detail = format!("{what} {noun} in annotation and field must match");
        FieldError::forbidden(&path.child(part), detail)
    })
}

/// What an update may not do: change what made a mirror pod one, or the profiles of containers.
pub(crate) fn validate_update(errors: &mut ErrorList, path: &Path, new: &Object, old: &Object) {
    let empty = Object::new();
    let of = |pod: &Object| -> Object {
        let annotations = pod.object("metadata").and_then(|m| m.object("annotations"));
        annotations.unwrap_or(&empty).clone()
    };
    let (now, then) = (of(new), of(old));
    let mut refuse = |key: &str, app_armor: &str, mirror: &str| {
        if key.starts_with(APP_ARMOR) {
            errors.push(FieldError::forbidden(&path.key(key), app_armor));
        }
        if key == MIRROR {
            errors.push(FieldError::forbidden(&path.key(key), mirror));
        }
    };
    for (key, before) in &then {
        if now.get(key) != Some(before) {
            refuse(
                key,
                "may not remove or update AppArmor annotations",
                "may not remove or update mirror pod annotation",
            );
        }
    }
    for key in now.keys().filter(|key| !then.contains_key(*key)) {
        refuse(
            key,
            "may not add AppArmor annotations",
            "may not add mirror pod annotation",
        );
    }
    validate(errors, path, new);
}
