//! Patches: JSON patch (RFC 6902), merge patch (RFC 7396), strategic merge patch. Server-side apply is in [`crate::managed_fields`].
//!
//! All give a tree that has still to be decoded by its type ([`crate::decode::object`]): that is where unknown fields and wrong types are found.

mod strategic;

use json_patch::PatchOperation;
use serde_json::{Map, Value};

use crate::{Object, Status, decode};

pub use strategic::apply as strategic;

/// More operations than this are refused.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

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

/// Applies a JSON patch.
///
/// # Errors
/// Malformed patches, failed tests, paths that are not there.
pub fn json(original: &Object, patch: &[u8]) -> Result<Object, PatchError> {
    let (value, _) = decode::untyped(patch).map_err(|e| PatchError::BadRequest(e.to_string()))?;
    let operations = match value {
        Value::Array(operations) => operations,
        other => {
            let kind = match other {
                Value::Object(_) => "object",
                Value::String(_) => "string",
                Value::Number(_) => "number",
                Value::Bool(_) => "bool",
                _ => return Ok(original.clone()),
            };
            let message =
                format!("json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch");
            return Err(PatchError::BadRequest(message));
        }
    };
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        return Err(PatchError::TooLarge(format!(
            "The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let mut value = Value::Object(original.clone());
    for operation in operations {
        let operation: PatchOperation =
            serde_json::from_value(operation).map_err(|_| PatchError::Rejected)?;
        json_patch::patch(&mut value, &[operation]).map_err(|_| PatchError::Rejected)?;
    }
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(PatchError::Rejected),
    }
}

/// Applies a merge patch: `null` removes, objects merge, all else replaces.
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
                original.insert(key.clone(), other.clone());
            }
        }
    }
}

/// A tree as Go prints it with `%v`, which stands in upstream's messages: `map[a:1 b:[x y]]`.
pub fn go_value(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(go_value).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Object(map) => {
            let entries: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{k}:{}", go_value(v)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
        other => other.to_string(),
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
            Value::Object(o),
            json!({"a": {"c": 2, "e": {"g": 1}}, "d": [2]})
        );
    }

    #[test]
    fn json_patch_applies_all_or_fails() {
        let o = object(json!({"a": [1, 2]}));
        let patched = json(
            &o,
            br#"[{"op":"add","path":"/a/-","value":3},{"op":"test","path":"/a/0","value":1}]"#,
        );
        assert_eq!(Value::Object(patched.unwrap()), json!({"a": [1, 2, 3]}));
        assert_eq!(
            json(&o, br#"[{"op":"test","path":"/a/0","value":9}]"#),
            Err(PatchError::Rejected)
        );
        assert_eq!(
            json(&o, br#"[{"op":"remove","path":"/x"}]"#),
            Err(PatchError::Rejected)
        );
        assert_eq!(
            json(&o, b"{}").unwrap_err().to_string(),
            "json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        );
    }
}
