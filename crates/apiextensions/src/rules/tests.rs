//! Rules as the reference server asked them.

use serde_json::json;

use super::*;
use crate::schema::Interner;

fn judge(schema: &Value, new: &Value, old: Option<&Value>) -> Vec<String> {
    let schema = Structural::compile(Some(schema), &Interner::default());
    let object = |value: &Value| value.as_object().unwrap().clone();
    let old = old.map(object);
    validate(&object(new), old.as_ref(), &schema)
        .errors
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn recorded() -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {
            "min": {"type": "integer"}, "max": {"type": "integer"},
            "name": {"type": "string", "maxLength": 20},
            "immut": {"type": "string", "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "immut is immutable", "reason": "FieldValueForbidden"}]},
            "tags": {"type": "array", "maxItems": 5, "items": {"type": "string", "maxLength": 10}, "x-kubernetes-validations": [
                {"rule": "self.all(t, t.startsWith('t-'))", "messageExpression": "'bad tags: ' + self.join(',')"}]}},
        "x-kubernetes-validations": [
            {"rule": "!has(self.min) || !has(self.max) || self.min <= self.max", "message": "min must not exceed max"},
            {"rule": "!has(self.name) || self.name != 'forbidden'", "fieldPath": ".name", "reason": "FieldValueInvalid"},
            {"rule": "!has(oldSelf.max) || !has(self.max) || self.max >= oldSelf.max", "message": "max cannot shrink"}]}}})
}

#[test]
fn recorded_answers() {
    let none: [&str; 0] = [];
    let schema = recorded();
    let spec = |spec: Value| json!({"spec": spec});
    for (new, old, expected) in [
        (
            spec(json!({"min": 1, "max": 5, "immut": "i", "tags": ["t-a"]})),
            None,
            none.to_vec(),
        ),
        (
            spec(json!({"min": 9, "max": 5})),
            None,
            vec!["spec: Invalid value: min must not exceed max"],
        ),
        (
            spec(json!({"name": "forbidden"})),
            None,
            vec![
                "spec.name: Invalid value: failed rule: !has(self.name) || self.name != 'forbidden'",
            ],
        ),
        (
            spec(json!({"tags": ["t-a", "zz"]})),
            None,
            vec!["spec.tags: Invalid value: bad tags: t-a,zz"],
        ),
        (
            spec(json!({"max": 4})),
            Some(spec(json!({"max": 5}))),
            vec!["spec: Invalid value: max cannot shrink"],
        ),
        (
            spec(json!({"immut": "j"})),
            Some(spec(json!({"immut": "i"}))),
            vec!["spec.immut: Forbidden: immut is immutable"],
        ),
        (
            spec(json!({})),
            Some(spec(json!({"immut": "i"}))),
            none.to_vec(),
        ),
        // What was invalid before and did not change is excused.
        (
            spec(json!({"tags": ["zz"], "min": 1})),
            Some(spec(json!({"tags": ["zz"]}))),
            none.to_vec(),
        ),
        (
            spec(json!({"min": 9, "max": 5})),
            Some(spec(json!({"min": 9, "max": 5}))),
            none.to_vec(),
        ),
    ] {
        assert_eq!(
            judge(&schema, &new, old.as_ref()),
            expected,
            "{new} {old:?}"
        );
    }
}

#[test]
fn items_correlate_by_their_keys() {
    let schema = json!({"type": "object", "properties": {"list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "self >= oldSelf", "message": "only up"}]}}}}}});
    let old = json!({"list": [{"k": "a", "v": 1}, {"k": "b", "v": 5}]});
    let new = json!({"list": [{"k": "b", "v": 4}, {"k": "c", "v": 0}, {"k": "a", "v": 2}]});
    assert_eq!(
        judge(&schema, &new, Some(&old)),
        ["list[0].v: Invalid value: 4: only up"]
    );
}

#[test]
fn optional_old_self() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "x-kubernetes-validations": [
        {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": true, "message": "starts as first"}]}}});
    assert_eq!(
        judge(&schema, &json!({"a": "x"}), None),
        [r#"a: Invalid value: "x": starts as first"#]
    );
    assert_eq!(
        judge(&schema, &json!({"a": "x"}), Some(&json!({"a": "y"}))),
        [""; 0]
    );
}

#[test]
fn failures_and_costs() {
    let schema = |rule: &str| {
        json!({"type": "object", "properties": {"m": {"type": "object", "additionalProperties": {"type": "string"},
            "x-kubernetes-validations": [{"rule": rule}]}}})
    };
    assert_eq!(
        judge(&schema("self['a'] == 'b'"), &json!({"m": {}}), None),
        [r#"m: Invalid value: "object": no such key: a evaluating rule: self['a'] == 'b'"#]
    );
    let dear = "self.all(a, self.all(b, self.all(c, self.all(d, a != 'x'))))";
    let many: Map<String, Value> = (0..100).map(|i| (i.to_string(), "y".into())).collect();
    let errors = judge(&schema(dear), &json!({"m": many}), None);
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with(r#"m: Invalid value: "object": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run"#), "{errors:?}");
}

#[test]
fn the_root_has_a_name() {
    let schema = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name.startsWith('w')", "message": "w first"}]});
    let named = |name: &str| json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": name}});
    assert_eq!(judge(&schema, &named("w1"), None), [""; 0]);
    assert_eq!(
        judge(&schema, &named("x"), None),
        ["<nil>: Invalid value: w first"]
    );
}
