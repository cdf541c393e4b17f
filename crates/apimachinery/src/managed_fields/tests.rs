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
    entry.map_or(Value::Null, |e| tree(&e["fieldsV1"]))
}

/// Whether it is to be stored or not.
fn tree(fields: &Value) -> Value {
    let text = fields.as_str();
    text.map_or(fields.clone(), |text| serde_json::from_str(text).unwrap())
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

#[test]
fn a_configuration_is_told_all_that_is_wrong_with_it() {
    let (schema, root) = schema();
    let none = FieldSet::default();
    let error = |spec: Value| {
        let config = object(json!({"kind": "Thing", "metadata": {"name": "a"}, "spec": spec}));
        let error = apply(schema.get(root), None, &config, false, &write("one", &none));
        let error = error.unwrap_err().to_string();
        error.split_once("Kind=Thing): ").unwrap().1.to_owned()
    };
    for (spec, expected) in [
        (
            json!({"containers": "x", "replicas": "1"}),
            "errors:\n  .spec.containers: expected list, got &{x}\n  .spec.replicas: expected numeric (int or float), got string",
        ),
        (
            json!({"containers": [null]}),
            ".spec.containers: element 0: associative list with keys may not have a null element",
        ),
        (
            json!({"containers": [{"image": "i"}]}),
            ".spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)",
        ),
        (
            json!({"containers": [{"name": "a", "image": {"b": [1, null]}}]}),
            ".spec.containers[name=\"a\"].image: expected string, got &value.valueUnstructured{Value:map[string]interface {}{\"b\":[]interface {}{1, interface {}(nil)}}}",
        ),
        (
            json!({"containers": [{"name": "a"}, {"name": "a"}]}),
            ".spec.containers: duplicate entries for key [name=\"a\"]",
        ),
    ] {
        assert_eq!(error(spec.clone()), expected, "{spec}");
    }
}

#[test]
fn a_null_of_an_expression_fits_no_field() {
    let (schema, root) = schema();
    let error = |spec: Value| {
        let config = object(json!({"spec": spec}));
        merge_configuration(schema.get(root), &Object::new(), &config, Nulls::Refused).unwrap_err()
    };
    for (spec, expected) in [
        (json!(null), ".spec: expected map, got &{NULL_VALUE}"),
        (
            json!({"containers": null}),
            ".spec.containers: expected list, got &{NULL_VALUE}",
        ),
        (
            json!({"replicas": null}),
            ".spec.replicas: expected numeric (int or float), got structpb.NullValue",
        ),
        (
            json!({"containers": [{"name": "a", "image": null}]}),
            ".spec.containers[name=\"a\"].image: expected string, got &value.valueUnstructured{Value:0}",
        ),
    ] {
        assert_eq!(
            error(spec),
            format!("failed to convert patch object to typed object: {expected}")
        );
    }
}

#[test]
fn ownership_is_forgotten_on_demand() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let mut live = object(
        json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": {"name": "a"}, "spec": {"replicas": 1}}),
    );
    update(ty, None, &mut live, &write("one", &none));
    for forgotten in [json!([]), json!([{}])] {
        let mut new = live.clone();
        new["metadata"]["managedFields"] = forgotten;
        new["spec"]["replicas"] = json!(2);
        update(ty, Some(&live), &mut new, &write("two", &none));
        assert_eq!(new["metadata"].get("managedFields"), None);
    }
    // Items that cannot be told apart belong to nobody.
    let mut new = live.clone();
    new["spec"]["containers"] = json!([{"image": "i"}]);
    update(ty, Some(&live), &mut new, &write("two", &none));
    assert_eq!(new["metadata"].get("managedFields"), None);
}

#[test]
fn kubectl_takes_over_what_it_applied_before() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let mut live = object(
        json!({"kind": "Thing", "apiVersion": "x/v1", "spec": {"replicas": 1},
        "metadata": {"name": "a", "annotations": {annotation: r#"{"apiVersion":"x/v1","kind":"Thing","spec":{"replicas":1}}"#}}}),
    );
    update(
        ty,
        None,
        &mut live,
        &write("kubectl-client-side-apply", &none),
    );
    let config = object(
        json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": {"name": "a"}, "spec": {"replicas": 2}}),
    );
    assert!(apply(ty, Some(&live), &config, false, &write("other", &none)).is_err());
    let applied = apply(ty, Some(&live), &config, false, &write("kubectl", &none)).unwrap();
    assert_eq!(applied.object["spec"]["replicas"], 2);
    assert_eq!(
        applied.object["metadata"]["annotations"][annotation],
        "{\"apiVersion\":\"x/v1\",\"kind\":\"Thing\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"replicas\":2}}\n"
    );
}

mod creations {
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        "[ab\"-]{1,3}"
    }

    fn leaf() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            Just(json!({})),
            Just(json!([])),
            any::<u8>().prop_map(Value::from),
            name().prop_map(Value::from),
        ]
    }

    fn any_value() -> impl Strategy<Value = Value> {
        leaf().prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name(), inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    prop_compose! {
        fn new_object()(
            labels in prop_oneof![any_value(), prop::collection::btree_map(name(), name(), 0..4).prop_map(|map| json!(map))],
            containers in prop::collection::vec((name(), any_value()), 0..4),
            replicas in leaf(),
            unknown in any_value(),
            of_metadata in any_value(),
        ) -> Object {
            let containers: Vec<Value> = containers.into_iter().map(|(name, image)| json!({"name": name, "image": image})).collect();
            object(json!({"kind": "Thing", "apiVersion": "x/v1",
                "metadata": {"name": "a", "uid": "u", "labels": labels, "x": of_metadata},
                "spec": {"replicas": replicas, "containers": containers, "x": unknown}, "data": unknown}))
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn what_a_creator_owns_is_what_differs_from_a_blank_object(
            new in new_object(),
            blank in prop_oneof![Just(json!({})), Just(json!({"spec": {"replicas": null}, "metadata": {"labels": null, "x": {}}}))],
            ignored in prop_oneof![Just(vec![]), Just(vec!["spec"]), Just(vec!["spec.x", "metadata.labels.a", "metadata.x"]), Just(vec!["spec.containers"])],
        ) {
            let (schema, root) = schema();
            let (ty, blank) = (schema.get(root), object(blank));
            let ignored = FieldSet::of_paths(&ignored);
            let changed = changed_members(&blank, &new);
            let mut expected = differences(ty, &blank, &new, &changed, &ignored).changed;
            expected.subtract(&STRIPPED);
            let left = created::Left { ignored: Some(ignored.view()), stripped: Some(STRIPPED.view()) };
            let text = created::fields(ty, &blank, &new, &changed, left).into_text();
            prop_assert_eq!(text.as_str().unwrap(), expected.into_fields_v1().to_string());
        }
    }
}

#[test]
fn what_nobody_asks_for_stays_text() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let mut live = object(
        json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"replicas": 1}}),
    );
    update(ty, None, &mut live, &write("one", &none));
    let mut new = live.clone();
    new["spec"]["replicas"] = json!(2);
    new["metadata"]["labels"]["m"] = json!("1");
    update(ty, Some(&live), &mut new, &write("two", &none));
    assert_eq!(
        meta::managed_fields(&new)
            .iter()
            .map(|e| e["fieldsV1"].clone())
            .collect::<Vec<_>>(),
        [
            json!(r#"{"f:metadata":{"f:labels":{".":{},"f:l":{}}},"f:spec":{}}"#),
            json!(r#"{"f:metadata":{"f:labels":{"f:m":{}}},"f:spec":{"f:replicas":{}}}"#)
        ]
    );
    // The same in whatever form, and what a client sends is no text of ours.
    let mut shown = new.clone();
    spell_out(&mut shown);
    assert_ne!(shown, new);
    assert!(equal_but_times(&shown, &new));
    shown["metadata"]["managedFields"][0]["fieldsV1"] = json!({"f:spec": {}});
    assert!(!equal_but_times(&shown, &new));
}

#[test]
fn of_what_is_taken_out_of_a_map_the_map_is_left() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let config = |labels: Value| {
        let metadata = json!({"name": "a", "labels": labels});
        object(json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": metadata}))
    };
    let write = write("one", &none);
    let applied = apply(ty, None, &config(json!({"l": "1"})), false, &write).unwrap();
    let emptied = apply(ty, Some(&applied.object), &config(json!({})), false, &write).unwrap();
    assert_eq!(emptied.object["metadata"]["labels"], json!({}));
    assert_eq!(
        fields(&emptied.object, "one"),
        json!({"f:metadata": {"f:labels": {}}})
    );
}

#[test]
fn null_that_is_applied_to_null_stays_null() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let metadata = json!({"name": "a", "labels": null});
    let thing = object(json!({"kind": "Thing", "apiVersion": "x/v1", "metadata": metadata}));
    let mut live = thing.clone();
    update(ty, None, &mut live, &write("one", &none));
    let applied = apply(ty, Some(&live), &thing, false, &write("two", &none)).unwrap();
    assert_eq!(applied.object["metadata"]["labels"], Value::Null);
}

#[test]
fn keys_are_spelled_as_go_spells_them() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let name = "a<b>&\u{2028}\u{8}\u{c}\n\"\\é";
    let spec = json!({"containers": [{"name": name}]});
    let mut thing = object(json!({"kind": "Thing", "apiVersion": "x/v1", "spec": spec}));
    update(ty, None, &mut thing, &write("one", &none));
    let key = r#"k:{"name":"a\u003cb\u003e\u0026\u2028\u0008\u000c\n\"\\é"}"#;
    let fields = fields(&thing, "one");
    let containers = fields["f:spec"]["f:containers"].as_object().unwrap();
    assert!(containers.contains_key(key), "{containers:?}");
}

/// Where no type says what there should be, a map may take the place of something else, whose owner loses it with all that is in it.
#[test]
fn what_becomes_something_else_changes_hands() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let none = FieldSet::default();
    let thing = |free: Value| object(json!({"kind": "Thing", "apiVersion": "x/v1", "free": free}));
    let mut map = thing(json!({"a": {"b": 1}}));
    update(ty, None, &mut map, &write("one", &none));
    let mut scalar = thing(json!({"a": 5}));
    scalar.insert("metadata".to_owned(), map["metadata"].clone());
    update(ty, Some(&map), &mut scalar, &write("two", &none));
    assert_eq!(fields(&scalar, "one"), json!({"f:free": {}}));
    assert_eq!(fields(&scalar, "two"), json!({"f:free": {"f:a": {}}}));
    let mut again = thing(json!({"a": {"c": 1}}));
    again.insert("metadata".to_owned(), scalar["metadata"].clone());
    update(ty, Some(&scalar), &mut again, &write("three", &none));
    assert_eq!(fields(&again, "two"), Value::Null);
    assert_eq!(
        fields(&again, "three"),
        json!({"f:free": {"f:a": {".": {}, "f:c": {}}}})
    );
}

/// An explicit null in the place of an empty map or list is a change, which its owner may mind.
#[test]
fn null_and_empty_are_told_apart() {
    let (schema, root) = schema();
    let ty = schema.get(root);
    let ignored = FieldSet::default();
    for (empty, null) in [
        (
            json!({"metadata": {"labels": {}}}),
            json!({"metadata": {"labels": null}}),
        ),
        (
            json!({"spec": {"containers": []}}),
            json!({"spec": {"containers": null}}),
        ),
    ] {
        let first = apply(
            ty,
            None,
            &object(empty.clone()),
            false,
            &write("a", &ignored),
        )
        .unwrap();
        let second = |config, force| {
            apply(
                ty,
                Some(&first.object),
                &object(config),
                force,
                &write("b", &ignored),
            )
        };
        assert!(second(empty, false).is_ok());
        let error = second(null.clone(), false).unwrap_err();
        assert!(matches!(error, ApplyError::Conflicts(_)), "{error:?}");
        let forced = second(null.clone(), true).unwrap().object;
        assert_eq!(
            forced.get("metadata").and_then(|m| m.get("labels")),
            null["metadata"].get("labels")
        );
    }
}
