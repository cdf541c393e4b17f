//! What a Go struct would write again: zero values that `omitempty` drops, and those that always show.
//!
//! Built-in objects go through upstream's storage as protobuf, which does not tell an empty list, map or string of bytes from none. Until
//! then one that was sent is told from none: validation judges it, and messages show it. Where the field always shows, it is owned as
//! well; where `omitempty` drops it, whoever sees the object as JSON does not see it ([`hide`]): field management, webhooks, policies.
//! [`settle`] is what the storage makes of it all, and a dry run, too.

use serde_json::{Map, Value};

use crate::schema::{Either, Field, ObjectType, Omit, Scalar, Type, TypeRef};

/// What becomes of a field.
pub(crate) enum Slot {
    /// It shows this.
    Filled(Value),
    /// It holds this empty list or map until it is stored.
    Kept(Value),
    /// It does not show, unless [`fill`] gives it a zero value.
    Empty,
}

/// A decoded value put into its field. `keep` is whether what is empty is kept where it does not show.
pub(crate) fn slot(field: &Field, ty: TypeRef<'_>, value: Option<Value>, keep: bool) -> Slot {
    let Some(value) = value else {
        return Slot::Empty;
    };
    let shows = field.omit == Omit::Never;
    if is_nil_when_stored(&value, ty) {
        let bytes = value.is_string();
        if !keep && means_something_empty(ty) {
            return Slot::Filled(value);
        }
        return if keep || (shows && !bytes) {
            Slot::Kept(value)
        } else {
            Slot::Empty
        };
    }
    let empty = match &value {
        _ if field.pointer => false,
        Value::String(text) => text.is_empty() && matches!(ty.node(), Type::Scalar(Scalar::String)),
        Value::Bool(flag) => !flag && matches!(ty.node(), Type::Scalar(Scalar::Bool)),
        Value::Number(number) => {
            matches!(
                ty.node(),
                Type::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double)
            ) && number.as_f64() == Some(0.0)
        }
        _ => false,
    };
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

/// Whether a value is an empty slice, map or string of bytes in Go.
fn is_nil_when_stored(value: &Value, ty: TypeRef<'_>) -> bool {
    match value {
        // A list where anything may stand is no Go slice.
        Value::Array(items) => items.is_empty() && matches!(ty.node(), Type::List(_)),
        Value::Object(map) => map.is_empty() && matches!(ty.node(), Type::Map(_)),
        Value::String(text) => text.is_empty() && matches!(ty.node(), Type::Scalar(Scalar::Bytes)),
        _ => false,
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

/// What becomes of what was kept empty.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Gone where it does not show.
    Hidden,
    /// Gone.
    Stored,
}

/// What is left of an object when it has been stored: all that was kept empty is gone.
pub(crate) fn settle(ty: TypeRef<'_>, value: &mut Value) {
    shed(ty, value, Fate::Stored);
}

/// What is seen of an object as JSON: what was kept empty shows where its field always does.
pub(crate) fn hide(ty: TypeRef<'_>, value: &mut Value) {
    shed(ty, value, Fate::Hidden);
}

fn shed(ty: TypeRef<'_>, value: &mut Value, fate: Fate) {
    match (ty.node(), value) {
        (Type::Object(object), Value::Object(out)) => {
            out.retain(|name, value| match object.field(name) {
                Some(field) => stays(object, field, ty.at(field.ty), value, fate),
                None => true,
            });
        }
        (Type::Map(map), Value::Object(entries)) => {
            let values = ty.at(map.values);
            entries
                .values_mut()
                .for_each(|value| shed(values, value, fate));
        }
        (Type::List(list), Value::Array(items)) => {
            let inner = ty.at(list.items);
            items.iter_mut().for_each(|item| shed(inner, item, fate));
        }
        (
            Type::Either(
                Either::ObjectOrList(object)
                | Either::ObjectOrBool(object)
                | Either::ObjectOrStrings(object),
            ),
            value @ Value::Object(_),
        ) => shed(ty.at(*object), value, fate),
        (Type::Either(Either::ObjectOrList(object)), Value::Array(items)) => {
            let inner = ty.at(*object);
            items.iter_mut().for_each(|item| shed(inner, item, fate));
        }
        _ => {}
    }
}

/// Whether a field is still there; what is in it is shed, too.
fn stays(
    object: &ObjectType,
    field: &Field,
    ty: TypeRef<'_>,
    value: &mut Value,
    fate: Fate,
) -> bool {
    let shows = field.omit == Omit::Never;
    if !object.go || !is_nil_when_stored(value, ty) {
        shed(ty, value, fate);
        // With nothing kept in it, a struct may be zero after all.
        let zero = fate == Fate::Stored && field.omit == Omit::Zero && !field.pointer;
        return !(zero && ty.object().is_some_and(|inner| is_zero(ty, inner, value)));
    }
    if shows && fate == Fate::Stored {
        *value = Value::Null;
    }
    shows
}

/// Whether there is an empty list, map or text anywhere: quickly told, for most objects have none. Sets of owned fields are full of them.
pub(crate) fn has_empty(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty() || items.iter().any(has_empty),
        Value::Object(entries) => {
            let mut members = entries.iter();
            entries.is_empty() || members.any(|(name, v)| name != "managedFields" && has_empty(v))
        }
        Value::String(text) => text.is_empty(),
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
        schema::{
            Either, Field, ListSemantics, ListType, MapType, ObjectType, Omit, Scalar, Schema, Type,
        },
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
        let either = schema.add(Type::Either(Either::ObjectOrList(inner)));
        let mut either = field("either", either, Omit::Empty);
        either.pointer = true;
        let mut root = ObjectType::new("R", vec![field("inner", inner, Omit::Never), either]);
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

        let mut decoded = decode::json_to_judge(sent, ty).unwrap();
        assert_eq!(
            decoded.object["inner"],
            json!({"shown": [], "pairs": {}, "dropped": []})
        );
        decode::hide(&mut decoded.object, ty);
        assert_eq!(decoded.object["inner"], json!({"shown": [], "pairs": {}}));
        let mut decoded = decode::json_to_judge(sent, ty).unwrap();
        decode::settle(&mut decoded.object, ty);
        assert_eq!(decoded.object["inner"], stored);

        // Also in what may be an object or something else.
        let sent = br#"{"either": [{"shown": ["a"], "dropped": []}]}"#;
        let mut decoded = decode::json_to_judge(sent, ty).unwrap();
        decode::settle(&mut decoded.object, ty);
        let stored = json!([{"shown": ["a"], "pairs": null}]);
        assert_eq!(decoded.object["either"], stored);
        let stored = json!({"shown": null, "pairs": null});

        let decoded = decode::json(br#"{"inner": {"dropped": []}}"#, ty).unwrap();
        assert!(!decoded.kept_empty);
        assert_eq!(decoded.object["inner"], stored);
    }
}
