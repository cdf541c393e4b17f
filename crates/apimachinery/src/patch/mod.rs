//! Patches: JSON patch (RFC 6902), merge patch (RFC 7396), strategic merge patch. Server-side apply is in [`crate::managed_fields`].
//!
//! All give a tree that has still to be decoded by its type ([`crate::decode::object`]): that is where unknown fields and wrong types are found.

mod json;
mod restore;
mod strategic;

use serde_json::{Map, Value};

use crate::{Object, Status};

pub use json::JsonPatch;
pub use restore::{cut_off, unfit, unknown, unrestored};
pub use strategic::apply as strategic;

/// A patch that cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is malformed.
    #[error("{0}")]
    BadRequest(String),
    /// It does not fit the object: a test fails, a path is not there.
    #[error("the server rejected our request due to an error in our request")]
    Rejected,
    /// It has too many operations.
    #[error("{0}")]
    TooLarge(String),
    /// It has a shape that upstream, too, has no better answer to.
    #[error("{0}")]
    Unclassified(String),
}

impl From<PatchError> for Status {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::BadRequest(message) => Self::bad_request(message),
            PatchError::Rejected => {
                let mut status = Self::failure(422, "Invalid", error.to_string());
                status.details = Some(Box::default());
                status
            }
            PatchError::TooLarge(message) => Self::request_too_large(message),
            PatchError::Unclassified(message) => Self::unclassified(message),
        }
    }
}

/// Applies a JSON patch to an object.
///
/// # Errors
/// Malformed patches, failed tests, paths that are not there.
pub fn json(original: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    match JsonPatch::parse(patch, false)?.apply(Value::Object(original.clone()))? {
        Value::Object(object) => Ok(object),
        _ => Err(PatchError::Rejected),
    }
}

/// Applies a merge patch: `null` removes, objects merge, all else replaces. Objects in a list lose their nulls too, as upstream's library
/// has it.
pub fn merge(original: &mut Object, patch: &Map<String, Value>) {
    for (key, value) in patch {
        match value {
            Value::Null => {
                original.remove(key);
            }
            Value::Object(patch) => {
                let inner = original.entry(key.as_str()).or_insert(Value::Null);
                if !inner.is_object() {
                    *inner = Value::Object(Map::new());
                }
                if let Value::Object(inner) = inner {
                    merge(inner, patch);
                }
            }
            other => {
                original.insert(key.clone(), without_nulls(other));
            }
        }
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        Value::Object(members) => {
            let kept = members.iter().filter(|(_, value)| !value.is_null());
            let kept = kept.map(|(key, value)| (key.clone(), without_nulls(value)));
            Value::Object(kept.collect())
        }
        scalar => scalar.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn merge_patch_removes_and_replaces() {
        let mut o = object(json!({"a": {"b": 1, "c": 2}, "d": [1]}));
        merge(
            &mut o,
            &object(json!({"a": {"b": null, "e": {"f": null, "g": 1}}, "d": [2]})),
        );
        assert_eq!(
            Value::Object(o.clone()),
            json!({"a": {"c": 2, "e": {"g": 1}}, "d": [2]})
        );
        merge(
            &mut o,
            &object(json!({"d": [null, {"x": null, "y": [{"z": null}]}]})),
        );
        assert_eq!(o["d"], json!([null, {"y": [{}]}]));
    }
}
