//! Ports by number or name.

use apimachinery::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::text;
use crate::names;

/// A number in range, or the name of a port.
pub fn number_or_name(errors: &mut ErrorList, path: &Path, value: Option<&Value>) {
    match value {
        Some(Value::String(name)) => text(errors, path, name, names::port_name(name)),
        other => number(errors, path, other.and_then(Value::as_i64).unwrap_or(0)),
    }
}

/// A number from 1 to 65535.
pub fn number(errors: &mut ErrorList, path: &Path, port: i64) {
    errors.extend(
        names::port_number(port)
            .into_iter()
            .map(|m| FieldError::invalid(path, port, m)),
    );
}
