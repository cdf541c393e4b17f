//! Rules of environment variables, and of the fields and resources that they and downward API files refer to.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::all_containers;
use crate::{
    fields::{Fields, quantity},
    kinds::core::volume_source::no_backsteps,
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
            let at = path.child(name);
            let object = reference.text("name");
            let complaints = names::dns1123_subdomain(object);
            text(errors, &at.child("name"), object, complaints);
            let key = reference.text("key");
            required_text(errors, &at.child("key"), key, names::config_map_key);
        }
    }
    if let Some(reference) = source.object("fileKeyRef") {
        sources += 1;
        file_key_ref(errors, &path.child("fileKeyRef"), reference);
    }
    if sources == 0 {
        errors.push(FieldError::invalid(
            path,
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        ));
    } else if !variable.text("value").is_empty() {
        errors.push(FieldError::invalid(
            path,
            "",
            "may not be specified when `value` is not empty",
        ));
    } else if sources > 1 {
        errors.push(FieldError::invalid(
            path,
            "",
            "may not have more than one field specified at a time",
        ));
    }
}

/// A variable out of a file in a volume.
fn file_key_ref(errors: &mut ErrorList, path: &Path, reference: &Object) {
    let key = reference.text("key");
    required_text(errors, &path.child("key"), key, names::relaxed_env_var_name);
    let volume = reference.text("volumeName");
    let at = path.child("volumeName");
    required_text(errors, &at, volume, names::dns1123_label);
    let file = reference.text("path");
    let at = path.child("path");
    if file.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        no_backsteps(errors, &at, file);
    }
}

/// Files with variables lie in volumes that begin empty.
pub(super) fn file_volumes(errors: &mut ErrorList, path: &Path, spec: &Object) {
    for (at, container) in all_containers(path, spec) {
        for (index, variable) in container.objects("env") {
            let Some(name) = variable
                .object("valueFrom")
                .and_then(|source| source.object("fileKeyRef"))
                .map(|reference| reference.text("volumeName"))
            else {
                continue;
            };
            let at = at.child("env").index(index).child("valueFrom");
            let at = at.child("fileKeyRef").child("volumeName");
            // Of volumes of one name, the last counts.
            let volume = spec
                .objects("volumes")
                .filter(|(_, v)| v.text("name") == name);
            match volume.last() {
                None => errors.push(FieldError::not_found(&at, name)),
                Some((_, volume)) if !volume.has("emptyDir") => {
                    let detail = "referenced volume must be of type emptyDir";
                    errors.push(FieldError::invalid(&at, name, detail));
                }
                Some(_) => {}
            }
        }
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
                // A name that more letters may follow, strange as it is.
                required_text(errors, &name_path, reference.text("name"), |name| {
                    names::dns1123_subdomain(&names::mask_trailing_dash(name))
                });
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
    "status.phase",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
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
    let refuse = |errors: &mut ErrorList, complaint: String| {
        let detail = format!("error converting fieldPath: {complaint}");
        errors.push(FieldError::invalid(&at, name, detail));
    };
    let version = field.text("apiVersion");
    if version != "v1" {
        refuse(errors, format!("unsupported pod version: {version}"));
    } else if let Some((map, key)) = subscripted(name) {
        // Here upstream names the reference, not its path.
        match map {
            "metadata.annotations" => {
                let key = key.to_lowercase();
                text(errors, path, &key, names::qualified_name(&key));
            }
            "metadata.labels" => text(errors, path, key, names::qualified_name(key)),
            _ => refuse(
                errors,
                format!("field label does not support subscript: {name}"),
            ),
        }
    } else if name == "spec.host" && supported.contains(&"spec.nodeName") {
        // The oldest name of the node.
    } else if !POD_FIELDS.contains(&name) && name != "spec.host" {
        refuse(errors, format!("field label not supported: {name}"));
    } else if !supported.contains(&name) {
        let name = if name == "spec.host" {
            "spec.nodeName"
        } else {
            name
        };
        errors.push(FieldError::not_supported(&at, name, supported));
    }
}

/// `map['key']`.
fn subscripted(path: &str) -> Option<(&str, &str)> {
    let inner = path.strip_suffix("']")?;
    let (map, key) = inner.split_once("['")?;
    (!map.is_empty()).then_some((map, key))
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
    if let Some(divisor) = reference.get("divisor").and_then(quantity)
        && divisor.sign() != 0
    {
        divisor_of(
            errors,
            &path.child("divisor"),
            resource,
            &divisor.to_string(),
        );
    }
}

/// What an amount may be divided by.
fn divisor_of(errors: &mut ErrorList, path: &Path, resource: &str, divisor: &str) {
    const OF_BYTES: &[&str] = &[
        "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
    ];
    let (supported, shown, noun) = match resource.split_once('.').unwrap_or_default().1 {
        "cpu" => (&["1m", "1"][..], "1m and 1".to_owned(), "cpu"),
        "memory" => (OF_BYTES, OF_BYTES.join(", "), "memory"),
        "ephemeral-storage" => (OF_BYTES, OF_BYTES.join(", "), "local ephemeral storage"),
        other if other.starts_with("hugepages-") => (OF_BYTES, OF_BYTES.join(", "), "hugepages"),
        _ => return,
    };
    if !supported.contains(&divisor) {
        let detail =
            format!("only divisor's values {shown} are supported with the {noun} resource");
        errors.push(FieldError::invalid(path, resource, detail));
    }
}
