//! OpenAPI documents as protobuf: gnostic's messages, which clients written in Go ask for first.
//!
//! The messages are tables, by the keys of the JSON ([`v2`], [`v3`]); one function writes any of them. Fields come in the order of their
//! numbers, what is empty is left out, maps become lists of named values in the order of the JSON, and what may be anything is carried as YAML, of
//! which its JSON is a kind. Keys that no table names are left out, vendor extensions (`x-…`) aside.

pub(super) mod v2;
pub(super) mod v3;

use apimachinery::protobuf::wire::{bytes, delimited, double, number};
use serde_json::{Map, Value};

/// A message: its fields, and the number under which it keeps vendor extensions (0: nowhere).
struct Message {
    /// In the order of their numbers. A key that is empty stands for all but the extensions.
    fields: &'static [(u32, &'static str, Shape)],
    extensions: u32,
}

/// How a JSON value stands in a field.
enum Shape {
    Text,
    Flag,
    Integer,
    Double,
    /// Anything, as YAML.
    Any,
    /// A number, a boolean or a string, each in a field of its own.
    Scalar,
    Message(&'static Message),
    /// A list: the field repeated. What is no list counts as a list of one.
    Each(&'static Shape),
    /// An object: the field repeated, for each entry a message of its key and value.
    Entries(&'static Shape),
    /// A message that wraps a value in one field.
    Inside(u32, &'static Shape),
    /// A message with one of several fields: which, and how.
    OneOf(fn(&Value) -> Option<(u32, &'static Shape)>),
    /// A reference in the second field, anything else in the first.
    OrReference(&'static Shape, &'static Message),
    /// What `additionalProperties` takes: a schema, or a boolean.
    SchemaOrFlag(&'static Shape),
}

fn encode(message: &Message, document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(document) = document.as_object() {
        message.write(document, &mut out);
    }
    out
}

impl Message {
    fn write(&self, object: &Map<String, Value>, out: &mut Vec<u8>) {
        for (tag, key, shape) in self.fields {
            match shape {
                Shape::Entries(value) if key.is_empty() => {
                    let own = object.iter().filter(|(key, _)| !key.starts_with("x-"));
                    entries(*tag, own, value, out);
                }
                _ => {
                    if let Some(value) = object.get(*key).filter(|value| !value.is_null()) {
                        shape.write(*tag, value, out);
                    }
                }
            }
        }
        if self.extensions > 0 {
            let extensions = object.iter().filter(|(key, _)| key.starts_with("x-"));
            entries(self.extensions, extensions, &Shape::Any, out);
        }
    }
}

impl Shape {
    fn write(&self, tag: u32, value: &Value, out: &mut Vec<u8>) {
        match self {
            Self::Text => text(tag, value.as_str().unwrap_or_default(), out),
            Self::Flag if value == &Value::Bool(true) => number(tag, 1, out),
            Self::Flag => {}
            Self::Integer => match value.as_i64() {
                Some(value) if value != 0 => number(tag, value, out),
                _ => {}
            },
            Self::Double => match value.as_f64() {
                Some(value) if value != 0.0 => double(tag, value, out),
                _ => {}
            },
            Self::Any => delimited(tag, out, |out| {
                bytes(2, format!("{value}\n").as_bytes(), out);
            }),
            // A choice is written whatever it is.
            Self::Scalar => delimited(tag, out, |out| match value {
                Value::Bool(flag) => number(2, i64::from(*flag), out),
                Value::String(text) => bytes(3, text.as_bytes(), out),
                other => {
                    if let Some(value) = other.as_f64() {
                        double(1, value, out);
                    }
                }
            }),
            Self::Message(message) => delimited(tag, out, |out| {
                if let Some(object) = value.as_object() {
                    message.write(object, out);
                }
            }),
            Self::Each(item) => match value {
                Value::Array(items) => items.iter().for_each(|value| item.element(tag, value, out)),
                single => item.element(tag, single, out),
            },
            Self::Entries(shape) => {
                entries(tag, value.as_object().into_iter().flatten(), shape, out);
            }
            Self::Inside(inner, shape) => {
                delimited(tag, out, |out| shape.write(*inner, value, out));
            }
            Self::OneOf(choose) => delimited(tag, out, |out| {
                if let Some((inner, shape)) = choose(value) {
                    shape.write(inner, value, out);
                }
            }),
            Self::OrReference(shape, reference) => {
                delimited(tag, out, |out| match value.get("$ref") {
                    Some(_) => Self::Message(reference).write(2, value, out),
                    None => shape.write(1, value, out),
                });
            }
            Self::SchemaOrFlag(schema) => delimited(tag, out, |out| match value {
                Value::Bool(flag) => number(2, i64::from(*flag), out),
                value => schema.write(1, value, out),
            }),
        }
    }

    /// An element of a list is written also when it is empty.
    fn element(&self, tag: u32, value: &Value, out: &mut Vec<u8>) {
        match self {
            Self::Text => bytes(tag, value.as_str().unwrap_or_default().as_bytes(), out),
            other => other.write(tag, value, out),
        }
    }
}

fn text(tag: u32, value: &str, out: &mut Vec<u8>) {
    if !value.is_empty() {
        bytes(tag, value.as_bytes(), out);
    }
}

/// `NamedSchema`, `NamedAny` and their like: the key in the first field, the value in the second.
fn entries<'v>(
    tag: u32,
    entries: impl Iterator<Item = (&'v String, &'v Value)>,
    shape: &Shape,
    out: &mut Vec<u8>,
) {
    for (key, value) in entries {
        delimited(tag, out, |out| {
            text(1, key, out);
            shape.write(2, value, out);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field.
    pub(super) fn field(tag: u32, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        bytes(tag, &parts.concat(), &mut out);
        out
    }
}
