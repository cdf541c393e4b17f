use serde_json::json;

use super::*;
use crate::schema::{Field, ListSemantics, ListType, ObjectType, Scalar, Schema, Type, TypeId};

fn schema() -> (Schema, TypeId) {
    let mut schema = Schema::new();
    let string = Schema::scalar(Scalar::String);
    let int = Schema::scalar(Scalar::Int32);
    let labels = schema.add(Type::Map(crate::schema::MapType {
        values: string,
        atomic: false,
        wrapped_values: false,
    }));
    let metadata = ObjectType::new(
        "ObjectMeta",
        vec![Field::new("name", string), Field::new("labels", labels)],
    );
    let metadata = schema.add(Type::Object(metadata));
    let item = ObjectType::new(
        "C",
        vec![Field::new("name", string), Field::new("image", string)],
    );
    let item = schema.add(Type::Object(item));
    let semantics = ListSemantics::Map(["name".into()].into());
    let items = schema.add(Type::List(ListType {
        items: item,
        semantics,
        wrapped: false,
    }));
    let spec = ObjectType::new(
        "Spec",
        vec![Field::new("replicas", int), Field::new("containers", items)],
    );
    let spec = schema.add(Type::Object(spec));
    let fields = vec![
        Field::new("kind", string),
        Field::new("apiVersion", string),
        Field::new("metadata", metadata),
        Field::new("spec", spec),
    ];
    let root = schema.add(Type::Object(ObjectType::new("Thing", fields)));
    (schema, root)
}

fn object(value: Value) -> Object {
    value.as_object().unwrap().clone()
}

fn write<'a>(manager: &'a str, ignored: &'a FieldSet) -> Write<'a> {
    Write {
        manager,
        subresource: "",
        api_version: "x/v1",
        now: Timestamp::UNIX_EPOCH,
        ignored,
        versions: &OneVersion,
    }
}

fn fields(object: &Object, manager: &str) -> Value {
    let entry = meta::managed_fields(object)
        .iter()
        .find(|e| e["manager"] == manager);
    entry.map_or(Value::Null, |e| e["fieldsV1"].clone())
}

#[test]
fn updates_give_and_take_ownership() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let mut created = object(
        json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": {"name": "a", "labels": {"l": "1"}},
        "spec": {"replicas": 1, "containers": [{"name": "c", "image": "i"}]}}),
    );
    update(ty, None, &mut created, &write("one", &none));
    assert_eq!(
        fields(&created, "one"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:l": {}}}, "f:spec": {".": {}, "f:replicas": {},
            "f:containers": {".": {}, "k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}}}}})
    );
    let mut updated = created.clone();
    updated["spec"]["replicas"] = json!(2);
    update(ty, Some(&created), &mut updated, &write("two", &none));
    assert_eq!(
        fields(&updated, "two"),
        json!({"f:spec": {"f:replicas": {}}})
    );
    assert_eq!(fields(&updated, "one")["f:spec"].get("f:replicas"), None);
    // Nothing changed: nothing is owned anew.
    let mut same = updated.clone();
    update(ty, Some(&updated), &mut same, &write("three", &none));
    assert_eq!(same, updated);
}

#[test]
fn applies_conflict_are_forced_and_give_up() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let config = |replicas: i32, labels: Value| {
        object(
            json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": {"name": "a", "labels": labels},
            "spec": {"replicas": replicas}}),
        )
    };
    let one = apply(
        ty,
        None,
        &config(1, json!({"a": "1", "b": "1"})),
        false,
        &write("one", &none),
    )
    .unwrap();
    assert_eq!(
        fields(&one.object, "one"),
        json!({"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}, "f:spec": {"f:replicas": {}}})
    );
    let error = apply(
        ty,
        Some(&one.object),
        &config(2, json!({"a": "1"})),
        false,
        &write("two", &none),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    let two = apply(
        ty,
        Some(&one.object),
        &config(2, json!({"a": "1"})),
        true,
        &write("two", &none),
    )
    .unwrap();
    assert_eq!(two.object["spec"]["replicas"], 2);
    assert_eq!(
        fields(&two.object, "one"),
        json!({"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}})
    );
    // What only the first owns goes when it no longer states it; what both own stays.
    let config = object(json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": {"name": "a"}}));
    let gone = apply(ty, Some(&two.object), &config, false, &write("one", &none)).unwrap();
    assert_eq!(gone.object["metadata"]["labels"], json!({"a": "1"}));
    assert_eq!(fields(&gone.object, "one"), Value::Null);
}

#[test]
fn configurations_are_checked() {
    let (schema, root) = schema();
    let none = FieldSet::default();
    let config = object(json!({"kind": "Thing", "metadata": {"name": "a"}, "spec": {"nope": 1}}));
    let error = apply(schema.get(root), None, &config, false, &write("one", &none)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to create typed patch object (/a; x/v1, Kind=Thing): .spec.nope: field not declared in schema"
    );
}
