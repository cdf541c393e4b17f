//! `metadata`: of the object itself and of the resources that are embedded in it (`x-kubernetes-embedded-resource`).
//!
//! Whatever the schema says, metadata has the shape of `ObjectMeta`: it is decoded as such, which drops unknown fields and refuses values
//! of the wrong type. Follows upstream's `schema/objectmeta`.

use api::{facts, meta, names};
use apimachinery::{
    Object, decode,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use crate::schema::Structural;

/// Gives an object's `metadata` its canonical shape and adds the paths of what it drops to `unknown`.
///
/// # Errors
/// What Go's decoder says of a value of the wrong type: the object cannot be decoded.
pub fn coerce_metadata(
    object: &mut Object,
    path: &str,
    unknown: &mut Vec<String>,
) -> Result<(), String> {
    let Some(metadata) = object.get_mut("metadata") else {
        return Ok(());
    };
    let ty = facts::meta_type("ObjectMeta").expect("meta/v1 is among the facts");
    let body = metadata.to_string();
    let mut decoded = decode::json(body.as_bytes(), ty).map_err(|e| e.to_string())?;
    // Here an empty list does not reach who tracks ownership, and is no order to forget it.
    let managed = decoded
        .object
        .get("managedFields")
        .and_then(Value::as_array);
    if managed.is_some_and(Vec::is_empty) {
        decoded.object.remove("managedFields");
    }
    let Some(known) = metadata.as_object() else {
        // Null: Go leaves the struct empty.
        *metadata = Value::Object(decoded.object);
        return Ok(());
    };
    if *known != decoded.object {
        let dot = if path.is_empty() { "" } else { "." };
        unknown.extend(decoded.findings.iter().filter_map(|finding| {
            let name = finding
                .strip_prefix("unknown field \"")?
                .strip_suffix('"')?;
            Some(format!("{path}{dot}metadata.{name}"))
        }));
        *metadata = Value::Object(decoded.object);
    }
    Ok(())
}

/// Coerces `apiVersion`, `kind` and `metadata` of all embedded resources.
///
/// # Errors
/// The first that cannot be: `spec.emb.kind: Invalid value: 1: must be a string`.
pub fn coerce(
    object: &mut Object,
    schema: &Structural,
    unknown: &mut Vec<String>,
) -> Result<(), Box<FieldError>> {
    coerce_fields(object, &Path::default(), schema, false, unknown)
}

fn coerce_fields(
    object: &mut Object,
    path: &Path,
    schema: &Structural,
    embedded: bool,
    unknown: &mut Vec<String>,
) -> Result<(), Box<FieldError>> {
    if !schema.contains.embedded {
        return Ok(());
    }
    if embedded {
        for name in ["apiVersion", "kind"] {
            if let Some(value) = object.get(name).filter(|v| !v.is_string()) {
                let path = path.child(name);
                return Err(Box::new(FieldError::invalid(
                    &path,
                    value.clone(),
                    "must be a string",
                )));
            }
        }
        if object.contains_key("metadata") {
            let before = object.get("metadata").cloned().unwrap_or_default();
            coerce_metadata(object, path.as_str(), unknown).map_err(|message| {
                Box::new(FieldError::invalid(
                    &path.child("metadata"),
                    before,
                    message,
                ))
            })?;
        }
    }
    for (name, value) in object.iter_mut() {
        let (inner, path) = match schema.property(name) {
            Some(inner) => (inner, path.child(name)),
            None => match schema.additional.schema() {
                Some(inner) => (inner, path.key(name)),
                None => continue,
            },
        };
        coerce_value(value, &path, inner, unknown)?;
    }
    Ok(())
}

fn coerce_value(
    value: &mut Value,
    path: &Path,
    schema: &Structural,
    unknown: &mut Vec<String>,
) -> Result<(), Box<FieldError>> {
    match value {
        Value::Object(object) => coerce_fields(object, path, schema, schema.embedded, unknown),
        Value::Array(items) => {
            let Some(inner) = schema.items.as_ref().filter(|i| i.contains.embedded) else {
                return Ok(());
            };
            for (index, item) in items.iter_mut().enumerate() {
                coerce_value(item, &path.index(index), inner, unknown)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// All complaints about embedded resources: each needs an `apiVersion` and a `kind`, and its metadata must be valid.
pub fn validate(object: &Object, schema: &Structural) -> ErrorList {
    let mut errors = ErrorList::new();
    validate_fields(object, &Path::default(), schema, false, &mut errors);
    errors
}

/// Those about a default of an embedded resource, or of what holds such: first what cannot be coerced, then what is invalid.
pub(crate) fn validate_default(default: &Value, schema: &Structural, path: &Path) -> ErrorList {
    let mut coerced = default.clone();
    if let Err(error) = coerce_value(&mut coerced, path, schema, &mut Vec::new()) {
        return vec![*error];
    }
    let mut errors = ErrorList::new();
    validate_value(default, path, schema, &mut errors);
    errors
}

fn validate_fields(
    object: &Object,
    path: &Path,
    schema: &Structural,
    embedded: bool,
    errors: &mut ErrorList,
) {
    if !schema.contains.embedded {
        return;
    }
    if embedded {
        validate_resource(object, path, errors);
    }
    for (name, value) in object {
        match schema.property(name) {
            Some(inner) => validate_value(value, &path.child(name), inner, errors),
            None => {
                if let Some(inner) = schema.additional.schema() {
                    validate_value(value, &path.key(name), inner, errors);
                }
            }
        }
    }
}

fn validate_value(value: &Value, path: &Path, schema: &Structural, errors: &mut ErrorList) {
    match value {
        Value::Object(object) => validate_fields(object, path, schema, schema.embedded, errors),
        Value::Array(items) => {
            let Some(inner) = schema.items.as_ref().filter(|i| i.contains.embedded) else {
                return;
            };
            for (index, item) in items.iter().enumerate() {
                validate_value(item, &path.index(index), inner, errors);
            }
        }
        _ => {}
    }
}

fn validate_resource(object: &Object, path: &Path, errors: &mut ErrorList) {
    let at = |name: &str| path.child(name);
    for name in ["apiVersion", "kind"] {
        if !object.contains_key(name) {
            errors.push(FieldError::required(&at(name), ""));
        }
    }
    match object.get("apiVersion") {
        None => {}
        Some(Value::String(text)) if text.is_empty() => {
            errors.push(FieldError::invalid(
                &at("apiVersion"),
                "",
                "must not be empty",
            ));
        }
        Some(Value::String(text)) if text.matches('/').count() > 1 => {
            let message = format!("unexpected GroupVersion string: {text}");
            errors.push(FieldError::invalid(
                &at("apiVersion"),
                text.clone(),
                message,
            ));
        }
        Some(Value::String(_)) => {}
        Some(other) => errors.push(FieldError::invalid(
            &at("apiVersion"),
            other.clone(),
            "must be a string",
        )),
    }
    match object.get("kind") {
        None => {}
        Some(Value::String(text)) if text.is_empty() => {
            errors.push(FieldError::invalid(&at("kind"), "", "must not be empty"));
        }
        Some(Value::String(text)) => {
            let complaints = names::dns1035_label(&text.to_lowercase());
            if !complaints.is_empty() {
                let message = format!(
                    "may have mixed case, but should otherwise match: {}",
                    complaints.join(",")
                );
                errors.push(FieldError::invalid(&at("kind"), text.clone(), message));
            }
        }
        Some(other) => errors.push(FieldError::invalid(
            &at("kind"),
            other.clone(),
            "must be a string",
        )),
    }
    if let Some(Value::Object(metadata)) = object.get("metadata") {
        let mut metadata = metadata.clone();
        let text = |m: &Object, name: &str| {
            m.get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        if text(&metadata, "name").is_empty() {
            metadata.insert("name".to_owned(), "fakename".into());
        }
        let namespaced = !text(&metadata, "namespace").is_empty();
        errors.extend(meta::validate_meta(
            &metadata,
            namespaced,
            &|name, prefix| {
                if prefix {
                    names::path_segment_prefix(name)
                } else {
                    names::path_segment_name(name)
                }
            },
            &at("metadata"),
        ));
    }
}
