//! Objects on their way from the store and back: in these trees each `metadata.managedFields[].fieldsV1` is a leaf, its JSON as a string, as upstream's
//! type holds raw bytes. It is half of most objects, and nobody on that way looks into it but this module.
//!
//! A client cannot put such a leaf into a tree: the decoder takes no string for a set of fields. Whoever shows a tree to somebody else, a webhook or a
//! client, has it [spelled out](spell_out) first.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

use crate::{Object, encode, meta};

const FIELDS: &str = "fieldsV1";

/// Reads an object as it is stored.
///
/// # Errors
/// What is no JSON object.
pub fn read(json: &[u8]) -> serde_json::Result<Object> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = Place::Object.deserialize(&mut deserializer)?;
    deserializer.end()?;
    match read {
        Value::Object(object) => Ok(object),
        _ => Err(serde_json::Error::custom("a stored object is an object")),
    }
}

/// Writes an object of these members as it is stored.
pub fn write<'a>(members: impl IntoIterator<Item = (&'a String, &'a Value)>, out: &mut Vec<u8>) {
    encode::object_with(members, out, |name, value, out| match value {
        Value::Object(metadata) if name == "metadata" => write_metadata(metadata, out),
        value => encode::json(value, out),
    });
}

fn write_metadata(metadata: &Object, out: &mut Vec<u8>) {
    encode::object_with(metadata, out, |name, value, out| match value {
        Value::Array(entries) if name == "managedFields" => write_entries(entries, out),
        value => encode::json(value, out),
    });
}

fn write_entries(entries: &[Value], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, entry) in entries.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        match entry {
            Value::Object(members) => {
                encode::object_with(members, out, |name, value, out| match value {
                    Value::String(text) if name == FIELDS => out.extend_from_slice(text.as_bytes()),
                    value => encode::json(value, out),
                });
            }
            other => encode::json(other, out),
        }
    }
    out.push(b']');
}

/// Makes trees of the sets of fields that are text.
pub fn spell_out(object: &mut Object) {
    replace_texts(object, |text| {
        serde_json::from_str(text).unwrap_or_default()
    });
}

/// Takes the text out of sets of fields that a client's patch has put into trees, where it would count as one of ours.
pub fn disown_text(object: &mut Object) {
    // As the decoder has it.
    replace_texts(object, |_| Value::Array(Vec::new()));
}

fn replace_texts(object: &mut Object, with: impl Fn(&str) -> Value) {
    let is_text = |entry: &Value| entry.get(FIELDS).is_some_and(Value::is_string);
    if !meta::managed_fields(object).iter().any(is_text) {
        return;
    }
    let entries = meta::metadata_mut(object).get_mut("managedFields");
    for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
        let fields = entry.get_mut(FIELDS);
        if let Some(fields) = fields
            && let Value::String(text) = &*fields
        {
            *fields = with(text);
        }
    }
}

/// Whether two sets of fields are the same, whichever of them is text.
pub(super) fn same_fields(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a, b) {
        (Some(Value::String(text)), Some(tree @ Value::Object(_)))
        | (Some(tree @ Value::Object(_)), Some(Value::String(text))) => {
            let mut other = Vec::with_capacity(text.len());
            encode::json(tree, &mut other);
            other == text.as_bytes()
        }
        (a, b) => a == b,
    }
}

/// What is being read.
#[derive(Clone, Copy)]
enum Place {
    Object,
    Metadata,
    Entries,
    Entry,
    Fields,
    Other,
}

impl Place {
    /// What is in a member of what is being read.
    fn member(self, name: &str) -> Self {
        match (self, name) {
            (Self::Object, "metadata") => Self::Metadata,
            (Self::Metadata, "managedFields") => Self::Entries,
            (Self::Entry, FIELDS) => Self::Fields,
            _ => Self::Other,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Place {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        use serde::Deserialize as _;

        match self {
            Self::Other => Value::deserialize(deserializer),
            Self::Fields => {
                let text = <&RawValue>::deserialize(deserializer)?.get();
                match text.as_bytes() {
                    [b'{', ..] => Ok(Value::String(text.to_owned())),
                    // A string that somebody has stored is no text of ours.
                    [b'"', ..] => Ok(Value::Array(Vec::new())),
                    _ => serde_json::from_str(text).map_err(D::Error::custom),
                }
            }
            place => deserializer.deserialize_any(place),
        }
    }
}

impl<'de> Visitor<'de> for Place {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object as it is stored")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut out = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self.member(&name))?;
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let item = match self {
            Self::Entries => Self::Entry,
            _ => Self::Other,
        };
        let mut out = Vec::new();
        while let Some(value) = items.next_element_seed(item)? {
            out.push(value);
        }
        Ok(Value::Array(out))
    }

    // What stands where an object or a list should is kept as it is.

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_leaves_between_store_and_store() {
        let entry = json!({"manager": "m", "fieldsV1": {"f:spec": {"f:a\"": {}}}});
        let nowhere_else = json!({"fieldsV1": {"managedFields": [{"fieldsV1": {}}]}});
        let object = json!({"metadata": {"name": "a", "managedFields": [entry, {"fieldsV1": null}, {}, 1], "labels": nowhere_else},
            "spec": {"metadata": {"managedFields": [entry]}}});
        let text = object.to_string();
        let mut read = read(text.as_bytes()).unwrap();
        assert_eq!(
            read["metadata"]["managedFields"][0]["fieldsV1"],
            r#"{"f:spec":{"f:a\"":{}}}"#
        );
        let mut written = Vec::new();
        write(&read, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), text);
        spell_out(&mut read);
        assert_eq!(Value::Object(read), object);
    }

    #[test]
    fn what_is_not_as_stored_is_read_too() {
        for object in [
            json!({}),
            json!({"metadata": null}),
            json!({"metadata": {"managedFields": null}}),
            json!({"metadata": {"managedFields": {"fieldsV1": {}}}}),
            json!({"metadata": [{"managedFields": []}]}),
            json!({"metadata": {"managedFields": [1, -1, 0.5, true, "a"]}}),
        ] {
            let mut read = read(object.to_string().as_bytes()).unwrap();
            spell_out(&mut read);
            assert_eq!(Value::Object(read), object);
        }
        for refused in [
            "",
            "1",
            "[]",
            "{\"a\":}",
            "{}x",
            "{\"metadata\":{\"managedFields\":[{\"fieldsV1\":{]}}",
        ] {
            assert!(read(refused.as_bytes()).is_err(), "{refused}");
        }
    }

    #[test]
    fn a_stored_string_is_no_set() {
        let stored = r#"{"metadata":{"managedFields":[{"fieldsV1":"}"}]}}"#;
        let mut written = Vec::new();
        write(&read(stored.as_bytes()).unwrap(), &mut written);
        let expected = r#"{"metadata":{"managedFields":[{"fieldsV1":[]}]}}"#;
        assert_eq!(String::from_utf8(written).unwrap(), expected);
    }

    #[test]
    fn sets_are_compared_in_whatever_form() {
        let (tree, text) = (json!({"f:a": {}}), json!("{\"f:a\":{}}"));
        let other = json!("{\"f:b\":{}}");
        assert!(same_fields(Some(&tree), Some(&text)) && same_fields(Some(&text), Some(&tree)));
        assert!(same_fields(Some(&text), Some(&text)) && same_fields(None, None));
        assert!(!same_fields(Some(&tree), Some(&other)) && !same_fields(Some(&text), None));
    }
}
