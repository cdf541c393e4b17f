//! Why a tree does not fit a Go struct, in the words of upstream's converter from unstructured objects, through which the outcome of a
//! strategic merge patch goes. It knows no paths.

use serde_json::{Number, Value};

use crate::{
    decode, go,
    quantity::Quantity,
    schema::{Field, Scalar, Type, TypeRef},
    time,
};

/// The first thing in a tree that does not fit, in the order of Go's structs; `None` if there is nothing that this converter minds.
pub fn unfit(value: &Value, ty: TypeRef<'_>) -> Option<String> {
    part(value, ty, None)
}

/// What else does not fit is found by the values themselves, which read JSON: the decoder's complaint, as the converter passes it on.
pub fn unrestored(error: String) -> String {
    if error.starts_with("illegal base64 data") {
        format!("error decoding from json: {error}")
    } else {
        error
    }
}

/// The fields that no struct has, as the converter complains of them: to it the entries of a map are where the map is.
pub fn unknown(members: &[(&String, &Value)], ty: TypeRef<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in members {
        match ty.field(name) {
            Some((_, ty)) => unknown_within(value, ty, name, &mut found),
            None => found.push(format!("unknown field {}", crate::quote(name))),
        }
    }
    found
}

fn unknown_within(value: &Value, ty: TypeRef<'_>, path: &str, found: &mut Vec<String>) {
    match (ty.node(), value) {
        (Type::Object(_), Value::Object(members)) => {
            for (name, value) in members {
                let path = format!("{path}.{name}");
                match ty.field(name) {
                    Some((_, ty)) => unknown_within(value, ty, &path, found),
                    None => found.push(format!("unknown field {}", crate::quote(&path))),
                }
            }
        }
        (Type::Map(map), Value::Object(entries)) => {
            let values = ty.at(map.values);
            entries
                .values()
                .for_each(|value| unknown_within(value, values, path, found));
        }
        (Type::List(list), Value::Array(items)) => {
            let inner = ty.at(list.items);
            for (index, item) in items.iter().enumerate() {
                unknown_within(item, inner, &format!("{path}[{index}]"), found);
            }
        }
        _ => {}
    }
}

fn part(value: &Value, ty: TypeRef<'_>, field: Option<&Field>) -> Option<String> {
    if value.is_null() {
        return None;
    }
    match (ty.node(), value) {
        (Type::Object(object), Value::Object(members)) => {
            object.fields().iter().find_map(|field| {
                let value = members.get(&*field.name)?;
                part(value, ty.at(field.ty), Some(field))
            })
        }
        (Type::Object(_), _) => Some(format!("cannot restore struct from: {}", go::kind(value))),
        (Type::Map(map), Value::Object(entries)) => entries
            .values()
            .find_map(|value| part(value, ty.at(map.values), field)),
        (Type::Map(_), _) => Some(format!("cannot restore map from {}", go::kind(value))),
        (Type::List(list), Value::Array(items)) => items
            .iter()
            .find_map(|item| part(item, ty.at(list.items), field)),
        (Type::List(_), _) => Some(format!("cannot restore slice from {}", go::kind(value))),
        (Type::Scalar(scalar), _) => scalar_part(*scalar, value, ty, field),
        (Type::Either(_), _) => None,
    }
}

fn scalar_part(
    scalar: Scalar,
    value: &Value,
    ty: TypeRef<'_>,
    field: Option<&Field>,
) -> Option<String> {
    let kind = match scalar {
        Scalar::String => "string",
        Scalar::Bool => "bool",
        Scalar::Int32 => "int32",
        Scalar::Int64 => "int64",
        Scalar::Double => "float64",
        Scalar::Bytes if !value.is_string() => {
            return Some(format!("cannot restore slice from {}", go::kind(value)));
        }
        Scalar::IntOrString => return int_or_string(value),
        Scalar::Time | Scalar::MicroTime | Scalar::Duration => return timed(scalar, value),
        Scalar::Quantity => return quantity(value),
        _ => return None,
    };
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    match (scalar, value) {
        (Scalar::String, Value::String(_))
        | (Scalar::Bool, Value::Bool(_))
        | (Scalar::Double, Value::Number(_)) => None,
        (Scalar::Int32 | Scalar::Int64, Value::Number(_)) if whole => None,
        // Go could convert these, but upstream does not.
        (Scalar::Int32 | Scalar::Int64, Value::Number(_)) => Some(convert(value, ty, field)),
        (Scalar::String, Value::Number(number)) if !number.is_f64() => {
            Some(convert(value, ty, field))
        }
        _ => Some(format!("unrecognized type: {kind}")),
    }
}

/// These, too, read themselves.
fn timed(scalar: Scalar, value: &Value) -> Option<String> {
    let Value::String(text) = value else {
        let found = decode::kind_name(value.to_string().as_bytes());
        return Some(format!(
            "json: cannot unmarshal {found} into Go value of type string"
        ));
    };
    match scalar {
        Scalar::Time => time::parse(text).err(),
        Scalar::MicroTime => time::parse_micro(text).err(),
        _ => time::parse_duration(text).err(),
    }
}

fn quantity(value: &Value) -> Option<String> {
    let parsed = match value {
        Value::String(text) => text.trim().parse::<Quantity>(),
        other => other.to_string().parse(),
    };
    parsed.err().map(|error| error.to_string())
}

/// Makes numbers fit that are too great for their fields: the converter cuts them off, as Go's conversions do. Whether there were any.
pub fn cut_off(value: &mut Value, ty: TypeRef<'_>) -> bool {
    match (ty.node(), value) {
        (Type::Object(object), Value::Object(members)) => {
            let mut found = false;
            for field in object.fields() {
                if let Some(value) = members.get_mut(&*field.name) {
                    found |= cut_off(value, ty.at(field.ty));
                }
            }
            found
        }
        (Type::Map(map), Value::Object(entries)) => {
            let values = ty.at(map.values);
            let cut = entries.values_mut().map(|value| cut_off(value, values));
            cut.fold(false, |found, cut| found | cut)
        }
        (Type::List(list), Value::Array(items)) => {
            let inner = ty.at(list.items);
            let cut = items.iter_mut().map(|item| cut_off(item, inner));
            cut.fold(false, |found, cut| found | cut)
        }
        (Type::Scalar(Scalar::Int32), Value::Number(number)) => {
            #[allow(clippy::cast_possible_truncation, reason = "it is what Go does")]
            let cut = wide(number) as i32;
            let fits = number.as_i64() == Some(cut.into());
            *number = cut.into();
            !fits
        }
        (Type::Scalar(Scalar::Int64), Value::Number(number)) => {
            let fits = number.is_i64();
            *number = wide(number).into();
            !fits
        }
        _ => false,
    }
}

/// A number as one of 64 bits. Floats beyond them are all the same to the processors that upstream runs on.
fn wide(number: &Number) -> i64 {
    let float = number.as_f64().unwrap_or_default();
    #[allow(
        clippy::cast_possible_truncation,
        reason = "what is beyond comes to the least one"
    )]
    let truncated = if float.abs() < 9.3e18 && float < i64::MAX as f64 {
        float as i64
    } else {
        i64::MIN
    };
    number.as_i64().unwrap_or(truncated)
}

/// It reads itself, and knows not where it stands.
fn int_or_string(value: &Value) -> Option<String> {
    let found = match value {
        Value::Bool(_) => "bool".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
        Value::Number(number) if number.is_f64() => format!("number {number}"),
        _ => return None,
    };
    Some(format!(
        "json: cannot unmarshal {found} into Go value of type int32"
    ))
}

fn convert(value: &Value, ty: TypeRef<'_>, field: Option<&Field>) -> String {
    let to = decode::go_type(ty, field);
    format!("cannot convert {} to {to}", go::kind(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{ListSemantics, ListType, MapType, ObjectType, Schema};

    #[test]
    fn complaints_are_those_of_upstreams_converter() {
        let mut schema = Schema::new();
        let string = Schema::scalar(Scalar::String);
        let strings = schema.add(Type::List(ListType {
            items: string,
            semantics: ListSemantics::Atomic,
            wrapped: false,
        }));
        let map = schema.add(Type::Map(MapType {
            values: string,
            atomic: false,
            wrapped_values: false,
        }));
        let fields = vec![
            Field::new("map", map),
            Field::new("list", strings),
            Field::new("int", Schema::scalar(Scalar::Int32)),
            Field::new("flag", Schema::scalar(Scalar::Bool)),
            Field::new("port", Schema::scalar(Scalar::IntOrString)),
            Field::new("time", Schema::scalar(Scalar::Time)),
            Field::new("amount", Schema::scalar(Scalar::Quantity)),
            Field::new("long", Schema::scalar(Scalar::Int64)),
            Field::new("last", strings),
        ];
        let root = schema.add(Type::Object(ObjectType::new("T", fields)));
        for (value, expected) in [
            (
                json!({"map": {"a": 5}}),
                Some("cannot convert int64 to string"),
            ),
            (json!({"map": {"a": {}}}), Some("unrecognized type: string")),
            (
                json!({"map": {"a": true}}),
                Some("unrecognized type: string"),
            ),
            (json!({"map": []}), Some("cannot restore map from slice")),
            (
                json!({"list": "x", "map": "y"}),
                Some("cannot restore map from string"),
            ),
            (json!({"list": {}}), Some("cannot restore slice from map")),
            (json!({"int": "1"}), Some("unrecognized type: int32")),
            (json!({"int": 1.5}), Some("cannot convert float64 to int32")),
            (json!({"flag": "x"}), Some("unrecognized type: bool")),
            (
                json!({"port": true}),
                Some("json: cannot unmarshal bool into Go value of type int32"),
            ),
            (json!({"port": "x"}), None),
            (
                json!({"time": [], "last": {}}),
                Some("json: cannot unmarshal array into Go value of type string"),
            ),
            (
                json!({"time": "v", "last": {}}),
                Some(
                    r#"parsing time "v" as "2006-01-02T15:04:05Z07:00": cannot parse "v" as "2006""#,
                ),
            ),
            (
                json!({"time": "2024-01-01T00:00:00Z", "amount": 5, "last": {}}),
                Some("cannot restore slice from map"),
            ),
            (
                json!({"amount": [], "last": {}}),
                Some(
                    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                ),
            ),
            (json!([]), Some("cannot restore struct from: slice")),
            (json!({"int": 1.0, "flag": null, "map": {"a": null}}), None),
        ] {
            assert_eq!(
                unfit(&value, schema.get(root)).as_deref(),
                expected,
                "{value}"
            );
        }
        let mut great = json!({"int": 3_000_000_000_u32, "long": 1e20, "map": {"a": 1e20}});
        assert!(cut_off(&mut great, schema.get(root)));
        assert_eq!(
            great,
            json!({"int": -1_294_967_296, "long": i64::MIN, "map": {"a": 1e20}})
        );
        assert!(!cut_off(&mut great, schema.get(root)));
    }

    #[test]
    fn unknown_fields_within_maps_are_told_without_the_entry() {
        let mut schema = Schema::new();
        let item = ObjectType::new("I", vec![Field::new("a", Schema::scalar(Scalar::String))]);
        let item = schema.add(Type::Object(item));
        let map = schema.add(Type::Map(MapType {
            values: item,
            atomic: false,
            wrapped_values: false,
        }));
        let list = schema.add(Type::List(ListType {
            items: map,
            semantics: ListSemantics::Atomic,
            wrapped: false,
        }));
        let root = ObjectType::new("T", vec![Field::new("list", list)]);
        let root = schema.add(Type::Object(root));
        let value = json!({"list": [{}, {"k": {"a": "x", "b": 1}}], "no": 1});
        let members: Vec<_> = value.as_object().unwrap().iter().collect();
        assert_eq!(
            unknown(&members, schema.get(root)),
            [r#"unknown field "list[1].b""#, r#"unknown field "no""#]
        );
    }
}
