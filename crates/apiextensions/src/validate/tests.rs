//! Complaints as the reference server made them.

use serde_json::json;

use super::*;
use crate::schema::Interner;

fn complaints(schema: &Value, value: &Value) -> Vec<String> {
    update_complaints(schema, value, None)
}

fn update_complaints(schema: &Value, value: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Structural::compile(Some(schema), &Interner::default());
    validate(&Path::default(), value, old.map(Into::into), &schema)
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// The schema of one field `x` below `spec`.
fn of(field: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"x": field}}}})
}

fn at(value: Value) -> Value {
    json!({"spec": {"x": value}})
}

#[test]
fn recorded_wording() {
    for (schema, value, expected) in [
        (
            json!({"type": "integer"}),
            json!("a"),
            r#"spec.x: Invalid value: "string": spec.x in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(4_294_967_296_i64),
            r#"<nil>: Invalid value: "": Checked value must be of type integer with format int32 in spec.x"#,
        ),
        (
            json!({"type": "string", "format": "byte"}),
            json!("!!"),
            r#"spec.x: Invalid value: "!!": spec.x in body must be of type byte: "!!""#,
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("yesterday"),
            r#"spec.x: Invalid value: "yesterday": spec.x in body must be of type date-time: "yesterday""#,
        ),
        (
            json!({"type": "string", "minLength": 2, "pattern": "^[a-z]+$"}),
            json!("A"),
            r#"spec.x: Invalid value: "A": spec.x in body should be at least 2 chars long"#,
        ),
        (
            json!({"type": "string", "maxLength": 5}),
            json!("abcdef"),
            "spec.x: Too long: may not be more than 5 bytes",
        ),
        (
            json!({"type": "string", "pattern": "^[a-z]+$"}),
            json!("ABC"),
            r#"spec.x: Invalid value: "ABC": spec.x in body should match '^[a-z]+$'"#,
        ),
        (
            json!({"type": "string", "enum": ["x", "y"]}),
            json!("z"),
            r#"spec.x: Unsupported value: "z": supported values: "x", "y""#,
        ),
        (
            json!({"type": "integer", "minimum": 1}),
            json!(0),
            "spec.x: Invalid value: 0: spec.x in body should be greater than or equal to 1",
        ),
        (
            json!({"type": "integer", "maximum": 10}),
            json!(12),
            "spec.x: Invalid value: 12: spec.x in body should be less than or equal to 10",
        ),
        (
            json!({"type": "integer", "multipleOf": 2}),
            json!(3),
            "spec.x: Invalid value: 3: spec.x in body should be a multiple of 2",
        ),
        (
            json!({"type": "number", "minimum": 0, "exclusiveMinimum": true}),
            json!(0),
            "spec.x: Invalid value: 0: spec.x in body should be greater than 0",
        ),
        (
            json!({"type": "array", "minItems": 1, "items": {"type": "string"}}),
            json!([]),
            "spec.x: Invalid value: 0: spec.x in body should have at least 1 items",
        ),
        (
            json!({"type": "array", "maxItems": 2, "items": {"type": "string"}}),
            json!(["1", "2", "3"]),
            "spec.x: Too many: 3: must have at most 2 items",
        ),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!([1]),
            r#"spec.x[0]: Invalid value: "integer": spec.x[0] in body must be of type string: "integer""#,
        ),
        (
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"k": "y"}),
            r#"spec.x.k: Invalid value: "string": spec.x.k in body must be of type integer: "string""#,
        ),
        (
            json!({"type": "object", "maxProperties": 2, "additionalProperties": {"type": "integer"}}),
            json!({"x": 1, "y": 2, "z": 3}),
            "spec.x: Too many: 3: must have at most 2 items",
        ),
        (
            json!({"type": "object", "required": ["r"], "properties": {"r": {"type": "string"}}}),
            json!({}),
            "spec.x.r: Required value",
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            r#"spec.x: Invalid value: "boolean": spec.x in body must be of type integer,string: "boolean""#,
        ),
        (
            json!({"type": "object", "anyOf": [{"required": ["p"]}, {"required": ["q"]}]}),
            json!({}),
            r#"<nil>: Invalid value: "": "spec.x" must validate at least one schema (anyOf)|spec.x.p: Required value"#,
        ),
        (
            json!({"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]}),
            json!("ab"),
            r#"<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
        ),
        (
            json!({"type": "string", "oneOf": [{"pattern": "^a"}, {"pattern": "b$"}]}),
            json!("zz"),
            r#"<nil>: Invalid value: "": "spec.x" must validate one and only one schema (oneOf). Found none valid|spec.x: Invalid value: "zz": spec.x in body should match '^a'"#,
        ),
        (
            json!({"type": "integer", "not": {"enum": [5]}}),
            json!(5),
            r#"<nil>: Invalid value: "": "spec.x" must not validate the schema (not)"#,
        ),
        (
            json!({"type": "integer", "minimum": 1, "maximum": 10, "multipleOf": 2}),
            json!(99),
            "spec.x: Invalid value: 99: spec.x in body should be a multiple of 2|spec.x: Invalid value: 99: spec.x in body should be less than or equal to 10",
        ),
        (
            json!({"type": "integer", "multipleOf": 2}),
            json!(1.5),
            r#"spec.x: Invalid value: "number": spec.x in body must be of type integer: "number"|<nil>: Invalid value: "": Checked value must be of type integer (default format) in spec.x|spec.x: Invalid value: 1.5: spec.x in body should be a multiple of 2"#,
        ),
        (
            json!({"type": "array", "uniqueItems": true, "items": {"type": "string"}}),
            json!(["a", "a"]),
            r#"spec.x: Invalid value: "": spec.x in body shouldn't contain duplicates"#,
        ),
        (
            json!({"type": "string"}),
            json!(null),
            r#"spec.x: Invalid value: "null": spec.x in body must be of type string: "null""#,
        ),
    ] {
        assert_eq!(complaints(&of(schema), &at(value)).join("|"), expected);
    }
    assert_eq!(
        complaints(&of(json!({})), &json!({"spec": "x"})),
        [r#"spec: Invalid value: "string": spec in body must be of type object: "string""#]
    );
}

#[test]
fn valid_values() {
    for (schema, value) in [
        (json!({"type": "integer"}), json!(3.0)),
        (
            json!({"type": "integer", "format": "int64"}),
            json!(9_007_199_254_740_993_i64),
        ),
        (json!({"type": "number"}), json!(10_000_000_000.0)),
        (json!({"type": "number"}), json!(3)),
        (json!({"type": "string", "nullable": true}), json!(null)),
        (json!({"x-kubernetes-int-or-string": true}), json!("50%")),
        (json!({"type": "string", "format": "unknown"}), json!("x")),
        (
            json!({"x-kubernetes-preserve-unknown-fields": true}),
            json!([{"a": 1}]),
        ),
        (json!({"type": "number", "multipleOf": 0.1}), json!(0.3)),
    ] {
        assert_eq!(complaints(&of(schema), &at(value)), [""; 0]);
    }
}

#[test]
fn unchanged_values_are_excused() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["r"], "properties": {
        "a": {"type": "string", "maxLength": 1},
        "b": {"type": "string", "maxLength": 1},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}}}}}});
    let old = json!({"spec": {"a": "aa", "list": [{"k": "1", "v": "xx"}]}});
    let new = json!({"spec": {"a": "aa", "b": "bb", "list": [{"k": "2", "v": "yy"}, {"k": "1", "v": "xx"}]}});
    assert_eq!(
        update_complaints(&schema, &new, Some(&old)),
        [
            "spec.b: Too long: may not be more than 1 byte",
            "spec.list[0].v: Too long: may not be more than 1 byte",
            "spec.r: Required value",
        ]
    );
    assert_eq!(update_complaints(&schema, &old, Some(&old)), [""; 0]);
}

#[test]
fn what_is_in_an_alternative_is_not_excused_by_itself() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "anyOf": [{"properties": {"a": {"maxLength": 1}}}],
    }}});
    let old = json!({"spec": {"a": "aa", "b": "1"}});
    let new = json!({"spec": {"a": "aa", "b": "2"}});
    assert_eq!(
        update_complaints(&schema, &new, Some(&old)),
        [
            "<nil>: Invalid value: \"\": \"spec\" must validate at least one schema (anyOf)",
            "spec.a: Too long: may not be more than 1 byte",
        ]
    );
    assert_eq!(update_complaints(&schema, &old, Some(&old)), [""; 0]);
}

#[test]
fn limits_below_zero_let_nothing_through() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "string", "maxLength": -1},
        "l": {"type": "array", "maxItems": -1, "items": {"type": "string"}},
    }});
    assert_eq!(
        complaints(&schema, &json!({"a": "", "l": []})),
        [
            "a: Too long: value is too long",
            "l: Too many: 0: has too many items",
        ]
    );
}
