//! `v1` ConfigMap: configuration as text and bytes, at most 1 MiB, immutable on request.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same_field},
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
    validate::text,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "configmaps"),
    gvk: GroupVersionKind::new("", "v1", "ConfigMap"),
    singular: "configmap",
    scope: Scope::Namespaced,
    short_names: &["cm"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("configmaps")),
    strategy: &ConfigMapStrategy,
};

#[derive(Debug)]
struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let mut size = 0;
        for field in ["data", "binaryData"] {
            let path = Path::new(field);
            for (key, value) in object.object(field).into_iter().flatten() {
                text(&mut errors, &path.key(key), key, names::config_map_key(key));
                if field == "data"
                    && object
                        .object("binaryData")
                        .is_some_and(|b| b.contains_key(key))
                {
                    errors.push(FieldError::invalid(
                        &path.key(key),
                        key.as_str(),
                        "duplicate of key present in binaryData",
                    ));
                }
                let length = value.as_str().map_or(0, str::len);
                size += if field == "data" {
                    length
                } else {
                    decoded_len(value)
                };
            }
        }
        if size > MAX_SECRET_SIZE_BYTES {
            // The path is the root; upstream shows it as nothing.
            errors.push(FieldError::too_long(
                &Path::default(),
                MAX_SECRET_SIZE_BYTES,
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = immutable_data(new, old, &[("data", same_field), BINARY]);
        errors.extend(crate::meta::validate_new(new, &RESOURCE));
        errors.extend(self.validate(new));
        errors
    }
}

/// All values of a ConfigMap or Secret together.
pub const MAX_SECRET_SIZE_BYTES: usize = 1024 * 1024;

/// The number of bytes that base64 text stands for.
pub fn decoded_len(value: &serde_json::Value) -> usize {
    let text = value.as_str().unwrap_or_default().trim_end_matches('=');
    text.len() * 3 / 4
}

/// How a field of two objects is compared.
pub type Compare = fn(&Object, &Object, &str) -> bool;

/// Of binary data an empty map is not none.
const BINARY: (&str, Compare) = ("binaryData", internal::identical_field_of_kind);

/// Once `immutable` is set, neither it nor the data changes.
pub fn immutable_data(new: &Object, old: &Object, fields: &[(&str, Compare)]) -> ErrorList {
    let mut errors = Vec::new();
    if !old.is_true("immutable") {
        return errors;
    }
    if !new.is_true("immutable") {
        errors.push(FieldError::forbidden(
            &Path::new("immutable"),
            "field is immutable when `immutable` is set",
        ));
    }
    for (field, same) in fields {
        if !same(new, old, field) {
            errors.push(FieldError::forbidden(
                &Path::new(field),
                "field is immutable when `immutable` is set",
            ));
        }
    }
    errors
}
