//! Trees into JSON, byte for byte as the library writes them, but quicker with strings (see [`crate::json_string`]).

use serde_json::Value;

use crate::{Object, json_string::is_plain};

/// Writes a value.
pub fn json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                json(item, out);
            }
            out.push(b']');
        }
        Value::Object(members) => object(members, out),
        // Writing to a vector does not fail.
        Value::Null | Value::Bool(_) | Value::Number(_) => drop(serde_json::to_writer(out, value)),
    }
}

/// Writes an object.
pub fn object(members: &Object, out: &mut Vec<u8>) {
    object_with(members, out, |_, value, out| json(value, out));
}

/// Writes an object of these members, whose values `write` writes.
pub fn object_with<'a>(
    members: impl IntoIterator<Item = (&'a String, &'a Value)>,
    out: &mut Vec<u8>,
    write: impl Fn(&str, &Value, &mut Vec<u8>),
) {
    out.push(b'{');
    for (index, (name, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        self::name(name, out);
        write(name, value, out);
    }
    out.push(b'}');
}

/// Writes `"name":value`.
pub fn member(name: &str, value: &Value, out: &mut Vec<u8>) {
    self::name(name, out);
    json(value, out);
}

/// Writes `"name":`.
pub(crate) fn name(name: &str, out: &mut Vec<u8>) {
    string(name, out);
    out.push(b':');
}

fn string(text: &str, out: &mut Vec<u8>) {
    if !is_plain(text.as_bytes()) {
        return drop(serde_json::to_writer(out, text));
    }
    out.reserve(text.len() + 2);
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[ -~]{0,40}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn values_are_written_as_the_library_writes_them(value in value()) {
            let mut out = Vec::new();
            json(&value, &mut out);
            prop_assert_eq!(out, serde_json::to_vec(&value).unwrap());
        }
    }
}
