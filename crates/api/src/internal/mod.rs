//! How upstream's internal types look when a message prints them.
//!
//! Validation upstream runs on internal Go structs without JSON tags, and its messages print them as JSON: Go's field names, in the
//! order of the struct, with every field there is, set or not. The metadata types have tags and print as on the wire. Our objects are of
//! the served version, so fields are renamed, ordered and filled here, from the facts and from what [`layout`] says of the structs that
//! differ from their served form.

mod diff;
mod layout;
mod node;
mod same;
mod wire;

use apimachinery::{
    Object, go,
    gvk::GroupVersion,
    meta,
    schema::{Field, Omit, Scalar, Type, TypeRef},
};
use serde_json::Value;

use crate::facts;
use layout::Slot;
use node::Node;
use same::By;

pub use wire::{Touched, patched};

/// A value of the type with this full name (`io.k8s.api.core.v1.PodSpec`), as compact JSON.
pub fn shown(type_name: &str, value: Option<&Value>) -> String {
    node(type_name, value).compact()
}

/// A field of an object of the type with this full name.
pub fn shown_field(type_name: &str, object: &Object, field: &str) -> String {
    let value = object.get(field);
    let ty = facts::schema().type_named(type_name);
    match ty.and_then(|ty| ty.field(field)) {
        Some((Some(field), ty)) if !field.pointer || value.is_some() => of(ty, value).compact(),
        _ => plain(value).compact(),
    }
}

/// Whether two values of a type are equal as upstream compares them: what is absent is zero where it is not behind a pointer.
pub fn same(type_name: &str, a: Option<&Value>, b: Option<&Value>) -> bool {
    match facts::schema().type_named(type_name) {
        Some(ty) => same::same(By::Meaning, ty, false, a, b),
        None => crate::fields::same(a, b),
    }
}

/// Whether two values of a type are equal by reflection, which some of upstream compares by: an empty list or map is not none.
pub fn identical(type_name: &str, a: Option<&Value>, b: Option<&Value>) -> bool {
    match facts::schema().type_named(type_name) {
        Some(ty) => same::same(By::Reflection, ty, false, a, b),
        None => a == b,
    }
}

/// Whether two objects of a type agree in a field.
pub fn same_field(type_name: &str, a: &Object, b: &Object, field: &str) -> bool {
    same_field_of(
        By::Meaning,
        facts::schema().type_named(type_name),
        a,
        b,
        field,
    )
}

/// Whether two objects of a kind agree in a field.
pub fn same_field_of_kind(a: &Object, b: &Object, field: &str) -> bool {
    same_field_of(By::Meaning, type_of(a), a, b, field)
}

/// Whether two objects of a kind agree in a field by reflection ([`identical`]).
pub fn identical_field_of_kind(a: &Object, b: &Object, field: &str) -> bool {
    same_field_of(By::Reflection, type_of(a), a, b, field)
}

fn type_of(object: &Object) -> Option<TypeRef<'static>> {
    let group_version = GroupVersion::parse(meta::api_version(object))?;
    facts::type_of(&group_version.kind(meta::kind(object).to_owned()))
}

fn same_field_of(by: By, ty: Option<TypeRef<'_>>, a: &Object, b: &Object, field: &str) -> bool {
    match ty.and_then(|ty| ty.field(field)) {
        Some((Some(known), inner)) => {
            same::same(by, inner, known.pointer, a.get(field), b.get(field))
        }
        _ => crate::fields::same_field(a, b, field),
    }
}

/// A list of values of a type without JSON tags.
pub fn in_go_names(type_name: &str, list: &[Value]) -> String {
    let items = list.iter().map(|item| node(type_name, Some(item)));
    Node::List(items.collect()).compact()
}

/// A list of values of a type that has JSON tags after all, in the order of its fields.
pub fn in_order(type_name: &str, list: &Value) -> String {
    let ty = facts::schema().type_named(type_name);
    let item = |item: &Value| match (ty, item) {
        (Some(ty), Value::Object(fields)) => {
            let mut members = Vec::new();
            tagged(ty, fields, &mut members);
            Node::Map(members)
        }
        _ => plain(Some(item)),
    };
    let items = list.as_array().into_iter().flatten().map(item).collect();
    Node::List(items).compact()
}

/// The lines that differ between two values, as a unified diff of their indented JSON; with a newline at its end.
pub fn difference(type_name: &str, old: Option<&Value>, new: Option<&Value>) -> String {
    diff::unified(
        &node(type_name, old).pretty(),
        &node(type_name, new).pretty(),
    )
}

fn node(type_name: &str, value: Option<&Value>) -> Node {
    match facts::schema().type_named(type_name) {
        Some(ty) => of(ty, value),
        None => plain(value),
    }
}

/// JSON as it is.
fn plain(value: Option<&Value>) -> Node {
    match value {
        None | Some(Value::Null) => Node::null(),
        Some(Value::Array(items)) => Node::List(items.iter().map(|i| plain(Some(i))).collect()),
        Some(Value::Object(map)) => Node::Map(
            map.iter()
                .map(|(key, value)| (key.clone(), plain(Some(value))))
                .collect(),
        ),
        Some(scalar) => Node::Leaf(scalar.clone()),
    }
}

/// A value that is not behind a pointer: what is absent is zero.
fn of(ty: TypeRef<'_>, value: Option<&Value>) -> Node {
    match ty.node() {
        Type::Scalar(scalar) => leaf(*scalar, value),
        Type::List(list) => match value {
            Some(Value::Array(items)) => Node::List(
                items
                    .iter()
                    .map(|item| of(ty.at(list.items), Some(item)))
                    .collect(),
            ),
            _ => Node::null(),
        },
        Type::Map(map) => match value {
            Some(Value::Object(entries)) => Node::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.clone(), of(ty.at(map.values), Some(value))))
                    .collect(),
            ),
            _ => Node::null(),
        },
        Type::Either(_) => plain(value),
        Type::Object(object) => {
            let empty = serde_json::Map::new();
            let fields = value.and_then(Value::as_object).unwrap_or(&empty);
            let mut out = Vec::new();
            if object.name.contains(".apimachinery.") {
                tagged(ty, fields, &mut out);
            } else if let Some(slots) = layout::of(&object.name) {
                for slot in slots {
                    out.push(laid_out(ty, slot, fields));
                }
            } else if let Some(order) = layout::order(&object.name) {
                for field in order.iter().filter_map(|name| object.field(name)) {
                    untagged(ty, field, fields, &mut out);
                }
            } else {
                for field in object.fields() {
                    untagged(ty, field, fields, &mut out);
                }
            }
            Node::Map(out)
        }
    }
}

type Entries = Vec<(String, Node)>;
type Fields = serde_json::Map<String, Value>;

/// A field of an internal struct.
fn untagged(ty: TypeRef<'_>, field: &Field, fields: &Fields, out: &mut Entries) {
    let inner = ty.at(field.ty);
    let value = fields.get(&*field.name);
    // Metadata is embedded, with its tags.
    if &*field.name == "metadata"
        && let Some(Value::Object(metadata)) = value
    {
        tagged(inner, metadata, out);
    } else if &*field.name != "metadata" {
        let owner = ty.object().map_or("", |object| &*object.name);
        out.push((
            go::field_name(owner, &field.name).into_owned(),
            optional(inner, field.pointer, value),
        ));
    }
}

/// A field of a struct whose layout is written down.
fn laid_out(ty: TypeRef<'_>, slot: &Slot, fields: &Fields) -> (String, Node) {
    let field = ty.object().and_then(|object| object.field(slot.field));
    let node = match (field, slot.filled_from_parent) {
        (Some(field), false) => optional(ty.at(field.ty), field.pointer, fields.get(slot.field)),
        // The pod's security context holds what the served version has beside it.
        (Some(field), true) => {
            let mut inner = fields
                .get(slot.field)
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            for name in layout::MOVED_INTO_SECURITY_CONTEXT {
                if let Some(value) = fields.get(*name) {
                    inner.insert((*name).to_owned(), value.clone());
                }
            }
            of(ty.at(field.ty), Some(&Value::Object(inner)))
        }
        // A field that the served type has elsewhere.
        (None, _) => match fields.get(slot.field) {
            Some(value) => plain(Some(value)),
            None if slot.flag => Node::Leaf(Value::Bool(false)),
            None => Node::null(),
        },
    };
    (slot.go_name.to_owned(), node)
}

fn optional(ty: TypeRef<'_>, pointer: bool, value: Option<&Value>) -> Node {
    match value {
        None | Some(Value::Null) if pointer => Node::null(),
        value => of(ty, value),
    }
}

/// A struct with JSON tags: as on the wire, but in the order of its fields.
fn tagged(ty: TypeRef<'_>, fields: &Fields, out: &mut Entries) {
    let Some(object) = ty.object() else { return };
    for field in object.fields() {
        let value = fields
            .get(&*field.name)
            .filter(|value| field.omit == Omit::Never || !is_empty(value));
        match value {
            Some(value) => out.push((field.name.to_string(), of(ty.at(field.ty), Some(value)))),
            None if field.omit == Omit::Never => {
                let node = optional(ty.at(field.ty), field.pointer, None);
                out.push((field.name.to_string(), node));
            }
            None => {}
        }
    }
}

/// What `omitempty` drops of what was kept for validation to see.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

fn leaf(scalar: Scalar, value: Option<&Value>) -> Node {
    if let Some(value) = value.filter(|v| !v.is_null()) {
        return match scalar {
            Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json => plain(Some(value)),
            _ => Node::Leaf(value.clone()),
        };
    }
    Node::Leaf(match scalar {
        Scalar::String => Value::String(String::new()),
        Scalar::Bool => Value::Bool(false),
        Scalar::Int32 | Scalar::Int64 | Scalar::Double | Scalar::IntOrString => Value::from(0),
        Scalar::Quantity => Value::from("0"),
        Scalar::Duration => Value::from("0s"),
        Scalar::Bytes
        | Scalar::Time
        | Scalar::MicroTime
        | Scalar::RawExtension
        | Scalar::FieldsV1
        | Scalar::Json => Value::Null,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_is_there_under_its_go_name() {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        assert_eq!(
            shown("io.k8s.api.core.v1.PersistentVolumeClaimSpec", Some(&spec)),
            "{\"AccessModes\":[\"ReadWriteOnce\"],\"Selector\":null,\"Resources\":{\"Limits\":null,\"Requests\":{\"storage\":\"1Gi\"}},\
             \"VolumeName\":\"\",\"StorageClassName\":null,\"VolumeMode\":null,\"DataSource\":null,\"DataSourceRef\":null,\
             \"VolumeAttributesClassName\":null}"
        );
    }

    #[test]
    fn metadata_types_print_as_on_the_wire() {
        let references =
            json!([{"uid": "u", "kind": "K", "apiVersion": "v1", "name": "n", "controller": true}]);
        let ty = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        let meta = json!({ "ownerReferences": references });
        assert_eq!(
            shown(ty, Some(&meta)),
            "{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"K\",\"name\":\"n\",\"uid\":\"u\",\"controller\":true}]}"
        );
    }

    #[test]
    fn templates_embed_their_metadata() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostPID": true, "containers": []}});
        let shown = shown("io.k8s.api.core.v1.PodTemplateSpec", Some(&template));
        assert!(shown.starts_with(
            "{\"labels\":{\"a\":\"b\"},\"Spec\":{\"Volumes\":null,\"InitContainers\":null,"
        ));
        assert!(shown.contains("\"SecurityContext\":{\"HostNetwork\":false,\"HostPID\":true,"));
    }

    #[test]
    fn what_is_absent_equals_zero_but_not_behind_a_pointer() {
        let ty = "io.k8s.api.core.v1.PersistentVolumeClaimSpec";
        let equal = |a: Value, b: Value| same(ty, Some(&a), Some(&b));
        assert!(equal(
            json!({}),
            json!({"volumeName": "", "accessModes": []})
        ));
        assert!(!equal(json!({}), json!({"storageClassName": ""})));
        assert!(!equal(json!({}), json!({"volumeName": "v"})));
    }

    #[test]
    fn sources_stand_in_the_order_of_the_internal_struct() {
        let source = json!({"glusterfs": {"endpoints": "e", "path": "p"}});
        let shown = shown("io.k8s.api.core.v1.PersistentVolumeSource", Some(&source));
        assert!(
            shown.starts_with(
                "{\"GCEPersistentDisk\":null,\"AWSElasticBlockStore\":null,\"HostPath\":null,\"Glusterfs\":{\"EndpointsName\":\"e\","
            ),
            "{shown}"
        );
    }

    #[test]
    fn differences_have_three_lines_around_them() {
        let (old, new) = (
            json!({"accessModes": ["ReadWriteOnce"]}),
            json!({"accessModes": ["ReadOnlyMany"]}),
        );
        assert_eq!(
            difference(
                "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
                Some(&old),
                Some(&new)
            ),
            "@@ -1,6 +1,6 @@\n {\n  \"AccessModes\": [\n-  \"ReadWriteOnce\"\n+  \"ReadOnlyMany\"\n  ],\n  \"Selector\": null,\n  \"Resources\": {\n"
        );
    }
}
