//! Printer columns, the paths of `scale`, selectable fields: what points into an object.

use api::fields::Fields;
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use crate::{
    field_path::{self, Notation},
    schema::{JsonType, Structural},
};

const TYPES: &str = "boolean,date,integer,number,string";
const FORMATS: &str = "byte,date,date-time,double,float,int32,int64,password";
/// So many different selectable fields may a version have.
const MAX_SELECTABLE_FIELDS: usize = 8;

/// One of `additionalPrinterColumns`.
pub(super) fn validate(errors: &mut ErrorList, column: &Object, path: &Path) {
    if column.text("name").is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    let known = |list: &str, text: &str| list.split(',').any(|one| one == text);
    let (column_type, format) = (column.text("type"), column.text("format"));
    let must = |list: &str| format!("must be one of {list}");
    if column_type.is_empty() {
        errors.push(FieldError::required(&path.child("type"), must(TYPES)));
    } else if !known(TYPES, column_type) {
        errors.push(FieldError::invalid(
            &path.child("type"),
            column_type,
            must(TYPES),
        ));
    }
    if !format.is_empty() && !known(FORMATS, format) {
        errors.push(FieldError::invalid(
            &path.child("format"),
            format,
            must(FORMATS),
        ));
    }
    let json_path = column.text("jsonPath");
    if json_path.is_empty() {
        errors.push(FieldError::required(&path.child("JSONPath"), ""));
    } else {
        simple_path(errors, json_path, &path.child("JSONPath"));
    }
}

/// Says whether a path looks like one.
fn simple_path(errors: &mut ErrorList, json_path: &str, path: &Path) -> bool {
    let simple = json_path.starts_with('.');
    if !simple {
        errors.push(FieldError::invalid(
            path,
            json_path,
            "must be a simple json path starting with .",
        ));
    }
    simple
}

/// `subresources`.
pub(super) fn validate_subresources(errors: &mut ErrorList, subresources: &Object, path: &Path) {
    let Some(scale) = subresources.object("scale") else {
        return;
    };
    for (name, prefix) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let path = path.child("scale").child(name);
        let json_path = scale.text(name);
        if json_path.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if simple_path(errors, json_path, &path) && !json_path.starts_with(prefix) {
            let below = prefix.trim_end_matches('.');
            errors.push(FieldError::invalid(
                &path,
                json_path,
                format!("should be a json path under {below}"),
            ));
        }
    }
    let json_path = scale.text("labelSelectorPath");
    let path = path.child("scale").child("labelSelectorPath");
    if !json_path.is_empty()
        && simple_path(errors, json_path, &path)
        && !json_path.starts_with(".spec.")
        && !json_path.starts_with(".status.")
    {
        errors.push(FieldError::invalid(
            &path,
            json_path,
            "should be a json path under either .spec or .status",
        ));
    }
}

/// `selectableFields` of a schema. `too_many_allowed`: they were more than allowed before, and are the same.
pub(super) fn validate_selectable(
    errors: &mut ErrorList,
    fields: &[Value],
    schema: &Structural,
    path: &Path,
    too_many_allowed: bool,
) {
    let mut unique: Vec<String> = Vec::new();
    for (index, field) in fields.iter().filter_map(Value::as_object).enumerate() {
        let at = path.index(index).child("jsonPath");
        let json_path = field.text("jsonPath");
        if json_path.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        let found = match field_path::resolve(json_path, schema, Notation::Dots) {
            Ok(found) => found,
            Err(error) => {
                errors.push(FieldError::invalid(
                    &at,
                    json_path,
                    format!("is an invalid path: {error}"),
                ));
                continue;
            }
        };
        let shown = found.path.as_str().to_owned();
        if shown == "metadata" || shown.starts_with("metadata.") || shown.starts_with("metadata[") {
            errors.push(FieldError::invalid(
                &at,
                json_path,
                "must not point to fields in metadata",
            ));
        }
        let selectable = found.schema.is_some_and(|s| {
            matches!(
                s.json_type,
                JsonType::String | JsonType::Boolean | JsonType::Integer
            )
        });
        if !selectable {
            errors.push(FieldError::invalid(
                &at,
                json_path,
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            ));
        }
        if unique.contains(&shown) {
            errors.push(FieldError::duplicate(&at, json_path));
        } else {
            unique.push(shown);
        }
    }
    if unique.len() > MAX_SELECTABLE_FIELDS && !too_many_allowed {
        errors.push(FieldError::too_many(
            path,
            unique.len(),
            MAX_SELECTABLE_FIELDS,
        ));
    }
}
