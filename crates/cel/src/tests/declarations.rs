//! Values read as a schema declares them.

use serde_json::{Value as Json, json};

use crate::{Activation, Budget, Environment, Value, declaration};

fn schema() -> Json {
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 10},
            "ratio": {"type": "number"},
            "port": {"x-kubernetes-int-or-string": true},
            "since": {"type": "string", "format": "date-time"},
            "day": {"type": "string", "format": "date"},
            "wait": {"type": "string", "format": "duration"},
            "blob": {"type": "string", "format": "byte"},
            "my-field": {"type": "integer"},
            "namespace": {"type": "string"},
            "maybe": {"type": "string", "nullable": true},
            "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}},
            },
            "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
        },
    })
}

fn object() -> Json {
    json!({
        "name": "a", "ratio": 1, "port": "http", "since": "2024-01-01T00:00:00Z", "day": "2024-01-01", "wait": "90s", "blob": "aGk=",
        "my-field": 3, "namespace": "n", "maybe": null, "anything": {"deep": [1, {"x": 1.5}]}, "labels": {"a/b": "c"},
        "set": ["a", "b"], "map": [{"k": "x", "v": 1}, {"k": "y", "v": 2}],
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": 1}},
    })
}

#[test]
fn json_is_read_as_declared() {
    let schema = schema();
    let declared = declaration(&&schema, "self", false).unwrap();
    let environment = Environment::new().declare("self", declared.clone());
    let object = object();
    for expression in [
        "self.ratio == 1.0 && type(self.ratio) == double && self.name.size() == 1",
        "self.port == 'http' && type(self.port) == string",
        "self.since < timestamp('2024-06-01T00:00:00Z') && self.day.getFullYear() == 2024",
        "self.wait == duration('1m30s') && self.blob == b'hi'",
        "self.my__dash__field == 3 && self.__namespace__ == 'n' && has(self.my__dash__field)",
        "!has(self.maybe) && self.?maybe.orValue('none') == 'none'",
        "self == self && [self] == [self]",
        "self.anything == self.anything && self.?wait.orValue(duration(self.labels['nope'])) == self.wait",
        "self.labels['a/b'] == 'c' && 'a/b' in self.labels && self.labels.all(k, self.labels[k] != '')",
        "self.set == ['b', 'a'] && self.set + ['b', 'c'] == ['c', 'a', 'b']",
        "self.map.exists(e, e.k == 'y' && e.v == 2) && self.map.map(e, e.v).sum() == 3",
        "(self.map + self.map).size() == 2 && self.map == self.map",
        "self.template.kind == 'Pod' && self.template.metadata.name == 'p' && self.template.spec.x == 1",
    ] {
        let program = environment.compile(expression).unwrap();
        let activation = Activation::new().with("self", Value::from_json(&object, Some(&declared)));
        let value = program.evaluate(&activation, &mut Budget::default());
        assert_eq!(value.map(|v| v.as_bool()), Ok(Some(true)), "{expression}");
    }
    for (expression, wrong) in [
        ("self.nope == 1", "undefined field 'nope'"),
        ("has(self.anything.deep)", "undefined field 'deep'"),
        (
            "quantity('1').x == 1",
            "unexpected failed resolution of 'kubernetes.Quantity'",
        ),
        (
            "self.ratio == 1",
            "found no matching overload for '_==_' applied to '(double, int)'",
        ),
        (
            "self.template.metadata.labels.size() == 0",
            "undefined field 'labels'",
        ),
        (
            "self.set == [1]",
            "found no matching overload for '_==_' applied to '(list(string), list(int))'",
        ),
    ] {
        let errors = environment.compile(expression).unwrap_err();
        assert_eq!(errors.issues()[0].message, wrong, "{expression}");
    }
}

#[test]
fn map_lists_merge_by_their_keys() {
    let schema = schema();
    let declared = declaration(&&schema, "self", false).unwrap();
    let environment = Environment::new()
        .declare("self", declared.clone())
        .declare("oldSelf", declared.clone());
    let (new, old) = (
        json!({"map": [{"k": "y", "v": 5}, {"k": "z", "v": 6}]}),
        json!({"map": [{"k": "x", "v": 1}, {"k": "y", "v": 2}]}),
    );
    let program = environment
        .compile("(oldSelf.map + self.map).map(e, e.k + string(e.v))")
        .unwrap();
    let activation = Activation::new()
        .with("self", Value::from_json(&new, Some(&declared)))
        .with("oldSelf", Value::from_json(&old, Some(&declared)));
    let value = program
        .evaluate(&activation, &mut Budget::default())
        .unwrap();
    assert_eq!(value.to_json(), Some(json!(["x1", "y5", "z6"])));
}
