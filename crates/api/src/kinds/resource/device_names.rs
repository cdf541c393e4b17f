//! Names and configurations of devices, which claims, classes and slices share.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::lists;
use crate::{
    fields::Fields,
    kinds::core::pod_spec::volumes,
    names,
    validate::{one_of, required_text, text},
};

const MAX_POOL_NAME: usize = 253;
/// Parameters for drivers may take so many bytes.
const MAX_PARAMETERS: usize = 10 * 1024;
/// Longest name of an attribute or a capacity, without its domain.
const MAX_ID: usize = 32;
/// Longest such name with its domain.
pub(super) const MAX_QUALIFIED: usize = 63 + 1 + MAX_ID;
const TAINT_EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

/// A driver is named as one for storage is.
pub(super) fn driver(errors: &mut ErrorList, path: &Path, name: &str) {
    volumes::csi_driver_name(errors, path, name);
}

/// Subdomains with slashes between them.
pub(super) fn pool(errors: &mut ErrorList, path: &Path, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > MAX_POOL_NAME {
        errors.push(FieldError::too_long(path, MAX_POOL_NAME));
    }
    for part in name.split('/') {
        text(errors, path, part, names::dns1123_subdomain(part));
    }
}

/// The name of a device, a request or a counter.
pub(super) fn label(errors: &mut ErrorList, path: &Path, name: &str) {
    text(errors, path, name, names::dns1123_label(name));
}

/// The name of an attribute or a capacity, with or without a domain. What has more slashes is let through, as upstream does.
pub(super) fn qualified(errors: &mut ErrorList, path: &Path, name: &str) {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(errors, path, id),
        [domain, id] => {
            if domain.is_empty() {
                errors.push(FieldError::invalid(
                    path,
                    "",
                    "the domain must not be empty",
                ));
            } else {
                driver(errors, path, domain);
            }
            if id.is_empty() {
                errors.push(FieldError::invalid(path, "", "the name must not be empty"));
            } else {
                identifier(errors, path, id);
            }
        }
        _ => {}
    }
}

/// The same, with a domain.
pub(super) fn fully_qualified(errors: &mut ErrorList, path: &Path, name: &str) {
    qualified(errors, path, name);
    if !name.contains('/') {
        errors.push(FieldError::invalid(
            path,
            name,
            "a fully qualified name must be a domain and a name separated by a slash",
        ));
    }
}

fn identifier(errors: &mut ErrorList, path: &Path, id: &str) {
    if id.len() > MAX_ID {
        errors.push(FieldError::too_long(path, MAX_ID));
    }
    text(errors, path, id, names::c_identifier(id));
}

/// What is handed to a driver: an object that we do not look into.
pub(super) fn configuration(errors: &mut ErrorList, path: &Path, config: &Object) {
    let at = path.child("opaque");
    let Some(opaque) = config.object("opaque") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    driver(errors, &at.child("driver"), opaque.text("driver"));
    raw(
        errors,
        &at.child("parameters"),
        opaque.value("parameters"),
        MAX_PARAMETERS,
    );
}

/// An object of any shape, of at most so many bytes.
pub(super) fn raw(errors: &mut ErrorList, path: &Path, value: Option<&Value>, max: usize) {
    match value {
        None => errors.push(FieldError::required(path, "")),
        Some(value) if value.to_string().len() > max => {
            errors.push(FieldError::too_long(path, max));
        }
        Some(value) if !value.is_object() => errors.push(FieldError::invalid(
            path,
            "<value omitted>",
            "must be a valid JSON object",
        )),
        Some(_) => {}
    }
}

/// A taint of a device.
pub(super) fn taint(errors: &mut ErrorList, path: &Path, taint: &Object) {
    let (key, value) = (taint.text("key"), taint.text("value"));
    text(errors, &path.child("key"), key, names::qualified_name(key));
    text(
        errors,
        &path.child("value"),
        value,
        names::label_value(value),
    );
    let at = path.child("effect");
    match taint.text("effect") {
        "" => errors.push(FieldError::required(&at, "")),
        effect => one_of(errors, &at, effect, TAINT_EFFECTS),
    }
}

/// A toleration of such taints.
pub(super) fn toleration(errors: &mut ErrorList, path: &Path, toleration: &Object) {
    let (key, value) = (toleration.text("key"), toleration.text("value"));
    if !key.is_empty() {
        text(errors, &path.child("key"), key, names::qualified_name(key));
    }
    let at = path.child("operator");
    match toleration.text("operator") {
        "Exists" if !value.is_empty() => errors.push(FieldError::invalid(
            &path.child("value"),
            value,
            "must be empty for operator `Exists`",
        )),
        "Exists" => {}
        "Equal" => text(
            errors,
            &path.child("value"),
            value,
            names::label_value(value),
        ),
        "" => errors.push(FieldError::required(&at, "")),
        operator => one_of(errors, &at, operator, &["Equal", "Exists"]),
    }
    let effect = toleration.text("effect");
    if !effect.is_empty() {
        one_of(errors, &path.child("effect"), effect, TAINT_EFFECTS);
    }
}

/// Conditions under which a device is bound, and those that end the wait for it: both or none, and no condition is in both.
pub(super) fn binding_conditions(errors: &mut ErrorList, path: &Path, owner: &Object) {
    const MAX: usize = 4;
    const FIELDS: [&str; 2] = ["bindingConditions", "bindingFailureConditions"];
    let [good, bad] = FIELDS.map(|field| owner.list(field));
    for (field, list) in FIELDS.into_iter().zip([good, bad]) {
        lists::slice(
            errors,
            &path.child(field),
            list,
            MAX,
            |errors, at, value| {
                let name = value.as_str().unwrap_or_default();
                text(errors, at, name, names::qualified_name(name));
            },
        );
    }
    let [at_good, at_bad] = FIELDS.map(|field| path.child(field));
    lists::unique(errors, &at_good, owner.texts(FIELDS[0]));
    for (index, condition) in owner.texts(FIELDS[1]).enumerate() {
        let at = at_bad.index(index);
        if owner.texts(FIELDS[1]).take(index).any(|c| c == condition) {
            errors.push(FieldError::duplicate(&at, condition));
        }
        if owner.texts(FIELDS[0]).any(|c| c == condition) {
            errors.push(FieldError::invalid(
                &at,
                condition,
                "bindingFailureConditions must not overlap with bindingConditions",
            ));
        }
    }
    for (field, other, at, lonely) in [
        (
            FIELDS[0],
            FIELDS[1],
            at_good,
            good.is_empty() && !bad.is_empty(),
        ),
        (
            FIELDS[1],
            FIELDS[0],
            at_bad,
            bad.is_empty() && !good.is_empty(),
        ),
    ] {
        if lonely {
            errors.push(FieldError::invalid(
                &at,
                owner.value(field).cloned().unwrap_or_default(),
                format!("{field} are required to use {other}"),
            ));
        }
    }
}

/// The class of a request.
pub(super) fn class(errors: &mut ErrorList, path: &Path, name: &str) {
    required_text(errors, path, name, names::dns1123_subdomain);
}
