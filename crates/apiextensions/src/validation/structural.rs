//! What makes a schema structural: every field has a type of its own, outside of `allOf` and its kin, which may only restrict values.
//!
//! Complaints are sorted by their text, as upstream's are.

use api::fields::Fields;
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::{Value, json};

use crate::pattern::Pattern;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Why a schema cannot be compiled at all: the first keyword that upstream's structural schema has no place for.
pub(super) fn unsupported(schema: &Object) -> Option<String> {
    for name in [
        "id",
        "$schema",
        "$ref",
        "patternProperties",
        "dependencies",
        "additionalItems",
        "definitions",
    ] {
        let set = match schema.get(name) {
            None | Some(Value::Null) => false,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Object(map)) => name == "additionalItems" || !map.is_empty(),
            Some(_) => true,
        };
        if set {
            let name = if name == "$schema" { "schema" } else { name };
            return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
        }
    }
    if schema.bool_opt("x-kubernetes-preserve-unknown-fields") == Some(false) {
        return Some(
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
                .to_owned(),
        );
    }
    if !schema.list("items").is_empty() {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    let mut found = schema.object("not").and_then(unsupported);
    for name in ["allOf", "anyOf", "oneOf"] {
        let inner = || schema.objects(name).find_map(|(_, s)| unsupported(s));
        found = found.or_else(inner);
    }
    for name in ["items", "additionalProperties"] {
        found = found.or_else(|| schema.object(name).and_then(unsupported));
    }
    found.or_else(|| {
        let mut properties = schema.object("properties")?.values();
        properties.find_map(|p| unsupported(p.as_object()?))
    })
}

/// All complaints about the structure of a schema.
pub(super) fn validate(schema: &Object, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    invariants(&mut errors, schema, Level::Root, path);
    completeness(&mut errors, schema, Some(schema), path, path);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn invariants(errors: &mut ErrorList, schema: &Object, level: Level, path: &Path) {
    let json_type = schema.text("type");
    let items = schema.object("items");
    if json_type == "array" && items.is_none() {
        errors.push(FieldError::required(
            &path.child("items"),
            "must be specified",
        ));
    }
    if let Some(items) = items {
        invariants(errors, items, Level::Item, &path.child("items"));
    }
    let empty = Object::new();
    let properties = schema.object("properties").unwrap_or(&empty);
    for (name, property) in properties {
        if let Some(property) = property.as_object() {
            let at = path.child("properties").key(name);
            invariants(errors, property, Level::Field, &at);
        }
    }
    let has_additional = schema.has("additionalProperties");
    if has_additional {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(&at, "must not be used at the root"));
        }
        if let Some(additional) = schema.object("additionalProperties") {
            invariants(errors, additional, Level::Field, &at);
        }
    }
    let embedded = schema.is_true("x-kubernetes-embedded-resource");
    let preserves = schema.is_true("x-kubernetes-preserve-unknown-fields");
    let int_or_string = schema.is_true("x-kubernetes-int-or-string");
    for (extension, set) in [
        ("x-kubernetes-preserve-unknown-fields", preserves),
        ("x-kubernetes-embedded-resource", embedded),
    ] {
        if int_or_string && set {
            errors.push(FieldError::invalid(
                &path.child(extension),
                true,
                "must be false if x-kubernetes-int-or-string is true",
            ));
        }
    }
    let excused = Excused {
        any_of: is_int_or_string_any_of(schema),
        first_all_of: is_int_or_string_all_of(schema),
    };
    value_validation(errors, schema, excused, path);
    let type_path = path.child("type");
    if embedded && json_type != "object" {
        const DETAIL: &str = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if json_type.is_empty() {
            FieldError::required(&type_path, DETAIL)
        } else {
            FieldError::invalid(&type_path, json_type, DETAIL)
        });
    } else if json_type.is_empty() && !int_or_string && !preserves {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(&type_path, detail));
    }
    if embedded && has_additional {
        errors.push(FieldError::forbidden(
            &path.child("additionalProperties"),
            "must not be used if x-kubernetes-embedded-resource is set",
        ));
    }
    if level == Level::Root && !json_type.is_empty() && json_type != "object" {
        errors.push(FieldError::invalid(
            &type_path,
            json_type,
            "must be object at the root",
        ));
    }
    meta(errors, properties, level, embedded, path);
    if embedded && !preserves && properties.is_empty() {
        errors.push(FieldError::required(
            &path.child("properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        ));
    }
}

/// `apiVersion`, `kind` and `metadata` of the root and of embedded resources.
fn meta(errors: &mut ErrorList, properties: &Object, level: Level, embedded: bool, path: &Path) {
    let check = level == Level::Root || embedded;
    for (name, expected) in [
        ("kind", "string"),
        ("apiVersion", "string"),
        ("metadata", "object"),
    ] {
        let Some(property) = properties.object(name).filter(|_| check) else {
            continue;
        };
        let json_type = property.text("type");
        if json_type != expected {
            errors.push(FieldError::invalid(
                &path.child("properties").key(name).child("type"),
                json_type,
                format!("must be {expected}"),
            ));
        }
    }
    if level != Level::Root {
        return;
    }
    let Some(metadata) = properties.object("metadata") else {
        return;
    };
    let names_alone = metadata.object("properties").is_none_or(|properties| {
        properties
            .keys()
            .all(|name| matches!(&**name, "name" | "generateName"))
    });
    let restricts = metadata.iter().any(|(name, value)| {
        !matches!(&**name, "type" | "default" | "properties") && *value != json!(false)
    });
    if !names_alone || restricts {
        errors.push(FieldError::forbidden(
            &path.child("properties").key("metadata"),
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        ));
    }
}

/// The two ways to write `x-kubernetes-int-or-string` out, which may say types where others may not.
#[derive(Clone, Copy, Default)]
struct Excused {
    any_of: bool,
    first_all_of: bool,
}

fn is_int_or_string_any_of(schema: &Object) -> bool {
    schema.get("anyOf") == Some(&json!([{"type": "integer"}, {"type": "string"}]))
}

fn is_int_or_string_all_of(schema: &Object) -> bool {
    schema
        .list("allOf")
        .first()
        .and_then(Value::as_object)
        .is_some_and(is_int_or_string_any_of)
}

fn value_validation(errors: &mut ErrorList, schema: &Object, excused: Excused, path: &Path) {
    if !excused.any_of {
        for (index, inner) in schema.objects("anyOf") {
            nested(
                errors,
                inner,
                Excused::default(),
                &path.child("anyOf").index(index),
            );
        }
    }
    for (index, inner) in schema.objects("allOf") {
        let excused = Excused {
            any_of: excused.first_all_of && index == 0,
            first_all_of: false,
        };
        nested(errors, inner, excused, &path.child("allOf").index(index));
    }
    for (index, inner) in schema.objects("oneOf") {
        nested(
            errors,
            inner,
            Excused::default(),
            &path.child("oneOf").index(index),
        );
    }
    if let Some(not) = schema.object("not") {
        nested(errors, not, Excused::default(), &path.child("not"));
    }
    let pattern = schema.text("pattern");
    if !pattern.is_empty()
        && let Err(error) = Pattern::new(pattern).regex()
    {
        errors.push(FieldError::invalid(
            &path.child("pattern"),
            pattern,
            format!("must be a valid regular expression, but isn't: {error}"),
        ));
    }
}

/// What an alternative may not say.
const FORBIDDEN: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    (
        "x-kubernetes-preserve-unknown-fields",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-embedded-resource",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-int-or-string",
        "must be false to be structural",
    ),
    (
        "x-kubernetes-list-map-keys",
        "must be empty to be structural",
    ),
    (
        "x-kubernetes-list-type",
        "must be undefined to be structural",
    ),
    (
        "x-kubernetes-map-type",
        "must be undefined to be structural",
    ),
    ("x-kubernetes-validations", "must be empty to be structural"),
];

fn nested(errors: &mut ErrorList, schema: &Object, excused: Excused, path: &Path) {
    value_validation(errors, schema, excused, path);
    if let Some(items) = schema.object("items") {
        nested(errors, items, Excused::default(), &path.child("items"));
    }
    let properties = schema.object("properties");
    for (name, property) in properties.into_iter().flatten() {
        if let Some(property) = property.as_object() {
            let at = path.child("properties").key(name);
            nested(errors, property, Excused::default(), &at);
        }
    }
    for (name, detail) in FORBIDDEN {
        let set = match schema.get(*name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::String(text)) => {
                matches!(
                    *name,
                    "x-kubernetes-list-type" | "x-kubernetes-map-type" | "default"
                ) || !text.is_empty()
            }
            Some(Value::Array(list)) => *name == "default" || !list.is_empty(),
            Some(_) => true,
        };
        if set || (*name == "default" && schema.has("default")) {
            errors.push(FieldError::forbidden(&path.child(name), *detail));
        }
    }
    if properties.is_some_and(|p| p.contains_key("metadata")) {
        errors.push(FieldError::forbidden(
            &path.child("properties").key("metadata"),
            "must not be specified in a nested context",
        ));
    }
}

/// Whatever an alternative restricts must be specified outside of it.
fn completeness(
    errors: &mut ErrorList,
    schema: &Object,
    structure: Option<&Object>,
    at: &Path,
    path: &Path,
) {
    if let Some(not) = schema.object("not") {
        nested_completeness(errors, not, structure, at, &path.child("not"));
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in schema.objects(name) {
            let path = path.child(name).index(index);
            nested_completeness(errors, inner, structure, at, &path);
        }
    }
}

fn nested_completeness(
    errors: &mut ErrorList,
    schema: &Object,
    structure: Option<&Object>,
    at: &Path,
    path: &Path,
) {
    let Some(known) = structure else {
        errors.push(FieldError::required(
            at,
            format!("because it is defined in {path}"),
        ));
        return;
    };
    completeness(errors, schema, structure, at, path);
    if let Some(items) = schema.object("items") {
        nested_completeness(
            errors,
            items,
            known.object("items"),
            &at.child("items"),
            &path.child("items"),
        );
    }
    for (name, property) in schema.object("properties").into_iter().flatten() {
        let Some(property) = property.as_object() else {
            continue;
        };
        let structure = known.object("properties").and_then(|p| p.object(name));
        nested_completeness(
            errors,
            property,
            structure,
            &at.child("properties").key(name),
            &path.child("properties").key(name),
        );
    }
}
