//! What a Go struct would write again: zero values that `omitempty` drops, and those that always show.
//!
//! Built-in objects go through upstream's storage as protobuf, which does not tell an empty list or map from none; until then one that was
//! sent for a field that always shows is told from none: it is owned, and messages show it. [`settle`] is what the storage makes of it, and
//! a dry run, too.

use serde_json::{Map, Value};

use crate::schema::{Field, ObjectType, Omit, Scalar, Type, TypeRef};

/// What becomes of a field.
pub(crate) enum Slot {
    /// It shows this.
    Filled(Value),
    /// It shows this empty list or map until it is stored.
    Kept(Value),
    /// It does not show, unless [`fill`] gives it a zero value.
    Empty,
}

/// A decoded value put into its field.
pub(crate) fn slot(field: &Field, ty: TypeRef<'_>, value: Option<Value>) -> Slot {
    let Some(value) = value else {
        return Slot::Empty;
    };
    let empty = match &value {
        // A list where anything may stand is no Go slice.
        Value::Array(items) => {
            let is_slice = matches!(ty.node(), Type::List(_));
            items.is_empty() && is_slice && !means_something_empty(ty)
        }
        Value::Object(map) => map.is_empty() && matches!(ty.node(), Type::Map(_)),
        _ if field.pointer => false,
        Value::String(text) => {
            text.is_empty() && matches!(ty.node(), Type::Scalar(Scalar::String | Scalar::Bytes))
        }
        Value::Bool(flag) => !flag && matches!(ty.node(), Type::Scalar(Scalar::Bool)),
        Value::Number(number) => {
            matches!(
                ty.node(),
                Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double)
            ) && number.as_f64() == Some(0.0)
        }
        _ => false,
    };
    if empty && field.omit == Omit::Never && (value.is_array() || value.is_object()) {
        return Slot::Kept(value);
    }
    // Structs without pointer are filled to the end before they come here; `omitzero` asks whether all of it is zero.
    let zero = field.omit == Omit::Zero
        && !field.pointer
        && ty
            .object()
            .is_some_and(|object| is_zero(ty, object, &value));
    if empty || zero {
        Slot::Empty
    } else {
        Slot::Filled(value)
    }
}

/// An empty `managedFields` is an order to forget who owns what; it goes no further than the tracking of ownership.
fn means_something_empty(ty: TypeRef<'_>) -> bool {
    let item = ty.items().and_then(TypeRef::object);
    item.is_some_and(|item| item.go_name() == "ManagedFieldsEntry")
}

/// Gives the fields that always show, and are not there, their zero values.
pub(crate) fn fill(ty: TypeRef<'_>, object: &ObjectType, out: &mut Map<String, Value>) {
    for field in object.fields() {
        let shows = match field.omit {
            Omit::Never => true,
            Omit::Zero => false,
            Omit::Empty => {
                !field.pointer
                    && match ty.at(field.ty).node() {
                        Type::Object(object) => object.go,
                        Type::Scalar(scalar) => is_struct(*scalar),
                        _ => false,
                    }
            }
        };
        if shows && !out.contains_key(&*field.name) {
            out.insert(field.name.to_string(), zero_of(field, ty.at(field.ty)));
        }
    }
}

/// What is left of an object when it has been stored: the empty lists and maps that were kept are gone.
pub(crate) fn settle(ty: TypeRef<'_>, value: &mut Value) {
    match (ty.node(), value) {
        (Type::Object(object), Value::Object(out)) => {
            for (name, value) in out.iter_mut() {
                let Some(field) = object.field(name) else {
                    continue;
                };
                let inner = ty.at(field.ty);
                let container = matches!(inner.node(), Type::List(_) | Type::Map(_));
                if container && object.go && field.omit == Omit::Never && is_empty(value) {
                    *value = Value::Null;
                } else {
                    settle(inner, value);
                }
            }
        }
        (Type::Map(map), Value::Object(entries)) => {
            let values = ty.at(map.values);
            entries.values_mut().for_each(|value| settle(values, value));
        }
        (Type::List(list), Value::Array(items)) => {
            let inner = ty.at(list.items);
            items.iter_mut().for_each(|item| settle(inner, item));
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

/// Scalars that are structs in Go, so that `omitempty` does not drop them.
fn is_struct(scalar: Scalar) -> bool {
    matches!(
        scalar,
        Scalar::Quantity
            | Scalar::IntOrString
            | Scalar::Time
            | Scalar::MicroTime
            | Scalar::Duration
            | Scalar::RawExtension
    )
}

fn zero_of(field: &Field, ty: TypeRef<'_>) -> Value {
    if field.pointer { Value::Null } else { zero(ty) }
}

/// The zero value as JSON.
pub(crate) fn zero(ty: TypeRef<'_>) -> Value {
    match ty.node() {
        Type::Scalar(scalar) => match scalar {
            Scalar::String => Value::from(""),
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
        },
        Type::Map(_) | Type::List(_) | Type::Either(_) => Value::Null,
        Type::Object(object) => {
            let mut out = Map::new();
            fill(ty, object, &mut out);
            Value::Object(out)
        }
    }
}

/// What `null` becomes as an item of a list or a value of a map in a Go struct; elsewhere it stays.
pub(crate) fn zero_item(ty: TypeRef<'_>, in_go_struct: bool) -> Option<Value> {
    Some(match ty.node() {
        _ if !in_go_struct => Value::Null,
        // Go's conversions leave no bytes of none.
        Type::Scalar(Scalar::Bytes) => Value::String(String::new()),
        _ => zero(ty),
    })
}

fn is_zero(ty: TypeRef<'_>, object: &ObjectType, value: &Value) -> bool {
    let Some(map) = value.as_object() else {
        return false;
    };
    map.iter().all(|(name, value)| match object.field(name) {
        Some(field) => *value == zero_of(field, ty.at(field.ty)),
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        decode,
        schema::{Field, ListSemantics, ListType, MapType, ObjectType, Omit, Scalar, Schema, Type},
    };

    #[test]
    fn what_always_shows_is_kept_empty_until_it_is_stored() {
        let mut schema = Schema::new();
        let text = Schema::scalar(Scalar::String);
        let list = schema.add(Type::List(ListType {
            items: text,
            semantics: ListSemantics::Atomic,
            wrapped: false,
        }));
        let map = schema.add(Type::Map(MapType {
            values: text,
            atomic: false,
            wrapped_values: false,
        }));
        let field = |name: &str, ty, omit| {
            let mut field = Field::new(name, ty);
            field.omit = omit;
            field
        };
        let mut inner = ObjectType::new(
            "I",
            vec![
                field("shown", list, Omit::Never),
                field("pairs", map, Omit::Never),
                field("dropped", list, Omit::Empty),
            ],
        );
        inner.go = true;
        let inner = schema.add(Type::Object(inner));
        let mut root = ObjectType::new("R", vec![field("inner", inner, Omit::Never)]);
        root.go = true;
        let root = schema.add(Type::Object(root));
        let ty = schema.get(root);

        let sent = br#"{"inner": {"shown": [], "pairs": {}, "dropped": []}}"#;
        let mut decoded = decode::json(sent, ty).unwrap();
        assert!(decoded.kept_empty);
        assert_eq!(decoded.object["inner"], json!({"shown": [], "pairs": {}}));
        decode::settle(&mut decoded.object, ty);
        let stored = json!({"shown": null, "pairs": null});
        assert_eq!(decoded.object["inner"], stored);

        let decoded = decode::json(br#"{"inner": {"dropped": []}}"#, ty).unwrap();
        assert!(!decoded.kept_empty);
        assert_eq!(decoded.object["inner"], stored);
    }
}
