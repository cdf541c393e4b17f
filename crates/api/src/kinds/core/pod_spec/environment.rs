//! Rules of environment variables, and of the fields and resources that they and downward API files refer to.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    names,
    validate::{required_text, text},
};

/// `env`.
pub(super) fn env(errors: &mut ErrorList, path: &Path, container: &Object) {
    for (index, variable) in container.objects("env") {
        let at = path.index(index);
        required_text(
            errors,
            &at.child("name"),
            variable.text("name"),
            names::relaxed_env_var_name,
        );
        if let Some(source) = variable.object("valueFrom") {
            value_from(errors, &at.child("valueFrom"), variable, source);
        }
    }
}

fn value_from(errors: &mut ErrorList, path: &Path, variable: &Object, source: &Object) {
    let mut sources = 0;
    if let Some(field) = source.object("fieldRef") {
        sources += 1;
        field_ref(errors, &path.child("fieldRef"), field, ENV_FIELDS);
    }
    if let Some(resource) = source.object("resourceFieldRef") {
        sources += 1;
        resource_field_ref(errors, &path.child("resourceFieldRef"), resource, false);
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = source.object(name) {
            sources += 1;
            let key = path.child(name).child("key");
            required_text(errors, &key, reference.text("key"), names::config_map_key);
        }
    }
    sources += i32::from(source.has("fileKeyRef"));
    if sources == 0 {
        errors.push(FieldError::invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ));
    }
    if !variable.text("value").is_empty() {
        if sources != 0 {
            errors.push(FieldError::invalid(
                path,
                "",
                "may not be specified when `value` is not empty",
            ));
        }
    } else if sources > 1 {
        errors.push(FieldError::invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        ));
    }
}

/// `envFrom`.
pub(super) fn env_from(errors: &mut ErrorList, path: &Path, container: &Object) {
    for (index, source) in container.objects("envFrom") {
        let at = path.index(index);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            text(
                errors,
                &at.child("prefix"),
                prefix,
                names::relaxed_env_var_name(prefix),
            );
        }
        let mut sources = 0;
        for name in ["configMapRef", "secretRef"] {
            if let Some(reference) = source.object(name) {
                sources += 1;
                let name_path = at.child(name).child("name");
                required_text(
                    errors,
                    &name_path,
                    reference.text("name"),
                    names::dns1123_subdomain,
                );
            }
        }
        match sources {
            0 => errors.push(FieldError::invalid(
                path,
                "",
                "must specify one of: `configMapRef` or `secretRef`",
            )),
            1 => {}
            _ => errors.push(FieldError::invalid(
                path,
                "",
                "may not have more than one field specified at a time",
            )),
        }
    }
}

/// Fields of a pod that a reference can name at all.
const POD_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "spec.schedulerName",
    "spec.hostNetwork",
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// What a downward API file may hold.
pub(super) const FILE_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// A `fieldRef` to one of `supported`, or to one label or annotation.
pub(super) fn field_ref(errors: &mut ErrorList, path: &Path, field: &Object, supported: &[&str]) {
    if field.text("apiVersion").is_empty() {
        errors.push(FieldError::required(&path.child("apiVersion"), ""));
        return;
    }
    let at = path.child("fieldPath");
    let name = field.text("fieldPath");
    if name.is_empty() {
        errors.push(FieldError::required(&at, ""));
        return;
    }
    if let Some((map, rest)) = name.split_once("['")
        && let Some(key) = rest.strip_suffix("']")
    {
        match map {
            "metadata.annotations" => {
                text(errors, &at, key, names::qualified_name(&key.to_lowercase()));
            }
            "metadata.labels" => text(errors, &at, key, names::qualified_name(key)),
            _ => errors.push(FieldError::invalid(
                &at,
                name,
                format!(
                    "error converting fieldPath: field label does not support subscript: {map}"
                ),
            )),
        }
    } else if !POD_FIELDS.contains(&name) {
        errors.push(FieldError::invalid(
            &at,
            name,
            format!("error converting fieldPath: field label not supported: {name}"),
        ));
    } else if !supported.contains(&name) {
        errors.push(FieldError::not_supported(&at, name, supported));
    }
}

/// A `resourceFieldRef`; in a volume it must name its container.
pub(super) fn resource_field_ref(
    errors: &mut ErrorList,
    path: &Path,
    reference: &Object,
    in_volume: bool,
) {
    const SUPPORTED: &[&str] = &[
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    let resource = reference.text("resource");
    if in_volume && reference.text("containerName").is_empty() {
        errors.push(FieldError::required(&path.child("containerName"), ""));
    } else if resource.is_empty() {
        errors.push(FieldError::required(&path.child("resource"), ""));
    } else if !SUPPORTED.contains(&resource)
        && !resource.starts_with("limits.hugepages-")
        && !resource.starts_with("requests.hugepages-")
    {
        errors.push(FieldError::not_supported(
            &path.child("resource"),
            resource,
            SUPPORTED,
        ));
    }
}
