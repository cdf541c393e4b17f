//! JSON patches of webhooks and policies, and why one does not fit, as upstream's library says it of the first operation that does not.

use apimachinery::{
    Object,
    patch::{self, PatchError},
    status::Status,
};
use serde_json::Value;

/// Why a patch does not fit.
#[derive(Debug)]
pub(super) struct Failure {
    /// Whether it is because a `test` failed.
    pub(super) is_test: bool,
    pub(super) reason: String,
}

/// Applies the operations of a patch.
pub(super) fn apply(object: &Object, operations: &Value) -> Result<Object, Failure> {
    patch::json(object, operations.to_string().as_bytes())
        .map_err(|error| explain(error, object, operations))
}

fn explain(error: PatchError, object: &Object, operations: &Value) -> Failure {
    let other = |error| Failure {
        is_test: false,
        reason: Status::from(error).message,
    };
    if error != PatchError::Rejected {
        return other(error);
    }
    let mut object = object.clone();
    for operation in operations.as_array().into_iter().flatten() {
        let single = Value::Array(vec![operation.clone()]).to_string();
        match patch::json(&object, single.as_bytes()) {
            Ok(patched) => object = patched,
            Err(_) => {
                let path = operation["path"].as_str().unwrap_or_default();
                // A test of what is nowhere is no failed test.
                let is_test = operation["op"] == "test" && has_parent(path, &object);
                return Failure {
                    is_test,
                    reason: operation_reason(operation, &object),
                };
            }
        }
    }
    other(error)
}

/// Whether what a path is in is there.
fn has_parent(path: &str, object: &Object) -> bool {
    let (parent, _) = path.rsplit_once('/').unwrap_or_default();
    is_there(parent, object)
}

fn is_there(path: &str, object: &Object) -> bool {
    Value::Object(object.clone()).pointer(path).is_some()
}

fn operation_reason(operation: &Value, object: &Object) -> String {
    let text = |name: &str| operation[name].as_str().unwrap_or_default();
    let path = text("path");
    let (_, key) = path.rsplit_once('/').unwrap_or_default();
    let has_parent = has_parent(path, object);
    match text("op") {
        "add" => {
            format!("add operation does not apply: doc is missing path: {path:?}: missing value")
        }
        "remove" if has_parent => format!(
            "error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
        ),
        "remove" => {
            format!("remove operation does not apply: doc is missing path: {path:?}: missing value")
        }
        "replace" if has_parent => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        "replace" => {
            format!("replace operation does not apply: doc is missing path: {path}: missing value")
        }
        "test" if !has_parent => {
            format!("test operation does not apply: is missing path: {path}: missing value")
        }
        "test" => format!("testing value {path} failed: test failed"),
        operation @ ("move" | "copy") => transfer_reason(operation, text("from"), path, object),
        other => format!("Unexpected kind: {other}"),
    }
}

/// Why nothing can be moved or copied; what is looked at first is told.
fn transfer_reason(operation: &str, from: &str, path: &str, object: &Object) -> String {
    let (_, key) = from.rsplit_once('/').unwrap_or_default();
    if !has_parent(from, object) {
        format!(
            "{operation} operation does not apply: doc is missing from path: {from}: missing value"
        )
    } else if operation == "move" && !is_there(from, object) {
        format!(
            "error in move for path: '{key}': Unable to remove nonexistent key: {key}: missing value"
        )
    } else {
        format!(
            "{operation} operation does not apply: doc is missing destination path: {path}: missing value"
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_test_of_what_is_nowhere_does_not_apply() {
        let object = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
        let tested = |path: &str| {
            let operations = json!([{"op": "test", "path": path, "value": "w"}]);
            let failure = apply(object.as_object().unwrap(), &operations).unwrap_err();
            (failure.is_test, failure.reason)
        };
        assert!(tested("/data/k").0);
        assert_eq!(
            tested("/spec/k"),
            (
                false,
                "test operation does not apply: is missing path: /spec/k: missing value".to_owned()
            )
        );
    }

    #[test]
    fn what_is_moved_or_copied_is_looked_for_before_where_to() {
        let object = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
        let reason = |op: &str, from: &str, path: &str| {
            let operations = json!([{"op": op, "from": from, "path": path}]);
            apply(object.as_object().unwrap(), &operations)
                .unwrap_err()
                .reason
        };
        assert_eq!(
            reason("copy", "/spec/k", "/spec/l"),
            "copy operation does not apply: doc is missing from path: /spec/k: missing value"
        );
        assert_eq!(
            reason("move", "/data/x", "/data/y"),
            "error in move for path: 'x': Unable to remove nonexistent key: x: missing value"
        );
        assert_eq!(
            reason("move", "/data/k", "/spec/k"),
            "move operation does not apply: doc is missing destination path: /spec/k: missing value"
        );
    }
}
