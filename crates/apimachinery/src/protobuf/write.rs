//! Trees into messages.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{
    tree::{Members, Tree},
    wire::{bytes, delimited, double, number},
};
use crate::{
    Object,
    schema::{Either, Scalar, Type, TypeRef},
    time,
};

pub(super) fn envelope(
    api_version: &str,
    kind: &str,
    out: &mut Vec<u8>,
    fill: impl FnOnce(&mut Vec<u8>),
) {
    delimited(1, out, |out| {
        bytes(1, api_version.as_bytes(), out);
        bytes(2, kind.as_bytes(), out);
    });
    delimited(2, out, fill);
    bytes(3, b"", out);
    bytes(4, b"", out);
}

/// The fields of an object, by number.
pub(super) fn message<M: Members>(object: &M, ty: TypeRef<'_>, out: &mut Vec<u8>) {
    let Some(known) = ty.object() else { return };
    let mut inlines = known.inlines.iter().peekable();
    for field in known.fields_by_tag() {
        while let Some(inline) = inlines.next_if(|inline| inline.tag < field.tag) {
            delimited(inline.tag, out, |out| {
                message(object, ty.at(inline.ty), out)
            });
        }
        let inner = ty.at(field.ty);
        match object.named(&field.name).filter(|v| !v.is_null()) {
            Some(value) => self::value(field.tag, value, inner, out),
            None if field.pointer => {}
            None => zero(field.tag, inner, out),
        }
    }
    for inline in inlines {
        delimited(inline.tag, out, |out| {
            message(object, ty.at(inline.ty), out)
        });
    }
}

/// What Go writes for a field without pointer that nobody set.
fn zero(tag: u32, ty: TypeRef<'_>, out: &mut Vec<u8>) {
    match ty.node() {
        Type::Scalar(scalar) => match scalar {
            Scalar::String => bytes(tag, b"", out),
            Scalar::Bool | Scalar::Int32 | Scalar::Int64 => number(tag, 0, out),
            Scalar::Double => double(tag, 0.0, out),
            Scalar::Quantity => self::value(tag, &Value::from("0"), ty, out),
            Scalar::IntOrString => self::value(tag, &Value::from(0), ty, out),
            Scalar::Duration => self::value(tag, &Value::from("0s"), ty, out),
            Scalar::Time
            | Scalar::MicroTime
            | Scalar::RawExtension
            | Scalar::FieldsV1
            | Scalar::Json => {
                bytes(tag, b"", out);
            }
            Scalar::Bytes => {}
        },
        Type::Object(_) => delimited(tag, out, |out| message(&Object::new(), ty, out)),
        Type::Map(_) | Type::List(_) | Type::Either(_) => {}
    }
}

fn value<T: Tree>(tag: u32, value: &T, ty: TypeRef<'_>, out: &mut Vec<u8>) {
    match ty.node() {
        Type::Scalar(scalar) => self::scalar(tag, value, *scalar, out),
        Type::Object(_) => {
            if let Some(object) = value.members() {
                delimited(tag, out, |out| message(object, ty, out));
            }
        }
        Type::List(list) => {
            let Some(items) = value.items() else { return };
            let inner = ty.at(list.items);
            if list.wrapped {
                delimited(tag, out, |out| self::items(1, items, inner, out));
            } else {
                self::items(tag, items, inner, out);
            }
        }
        Type::Map(map) => {
            let Some(entries) = value.members() else {
                return;
            };
            let inner = ty.at(map.values);
            for (name, value) in entries.each() {
                delimited(tag, out, |out| {
                    bytes(1, name.as_bytes(), out);
                    match (inner.node(), value.items()) {
                        // A list as a map's value is a message that wraps it.
                        (Type::List(list), Some(items)) => delimited(2, out, |out| {
                            self::items(1, items, inner.at(list.items), out);
                        }),
                        (Type::List(_), None) => bytes(2, b"", out),
                        _ => item(2, value, inner, out),
                    }
                });
            }
        }
        Type::Either(either) => self::either(tag, value, *either, ty, out),
    }
}

fn items<T: Tree>(tag: u32, items: &[T], ty: TypeRef<'_>, out: &mut Vec<u8>) {
    items.iter().for_each(|item| self::item(tag, item, ty, out));
}

/// An item of a list or a value of a map, where `null` is the zero value.
fn item<T: Tree>(tag: u32, value: &T, ty: TypeRef<'_>, out: &mut Vec<u8>) {
    if value.is_null() {
        zero(tag, ty, out)
    } else {
        self::value(tag, value, ty, out)
    }
}

fn either<T: Tree>(tag: u32, value: &T, either: Either, ty: TypeRef<'_>, out: &mut Vec<u8>) {
    let (Either::ObjectOrList(inner)
    | Either::ObjectOrBool(inner)
    | Either::ObjectOrStrings(inner)) = either;
    let inner = ty.at(inner);
    delimited(tag, out, |out| {
        let object = value.members();
        match either {
            Either::ObjectOrBool(_) => {
                number(1, i64::from(value.flag().unwrap_or(object.is_some())), out);
                if object.is_some() {
                    self::value(2, value, inner, out);
                }
            }
            _ if object.is_some() => self::value(1, value, inner, out),
            Either::ObjectOrList(_) => {
                for item in value.items().into_iter().flatten() {
                    self::value(2, item, inner, out);
                }
            }
            Either::ObjectOrStrings(_) => {
                for item in value.items().into_iter().flatten().filter_map(Tree::text) {
                    bytes(2, item.as_bytes(), out);
                }
            }
        }
    });
}

fn scalar<T: Tree>(tag: u32, value: &T, scalar: Scalar, out: &mut Vec<u8>) {
    let text = || value.text().unwrap_or_default();
    match scalar {
        Scalar::String => bytes(tag, text().as_bytes(), out),
        Scalar::Bool => number(tag, i64::from(value.flag().unwrap_or_default()), out),
        Scalar::Int32 | Scalar::Int64 => number(tag, value.integer().unwrap_or_default(), out),
        Scalar::Double => double(tag, value.float().unwrap_or_default(), out),
        Scalar::Bytes => bytes(tag, &STANDARD.decode(text()).unwrap_or_default(), out),
        Scalar::Quantity => delimited(tag, out, |out| bytes(1, text().as_bytes(), out)),
        Scalar::IntOrString => delimited(tag, out, |out| {
            number(1, i64::from(value.text().is_some()), out);
            number(2, value.integer().unwrap_or_default(), out);
            bytes(3, text().as_bytes(), out);
        }),
        Scalar::Time | Scalar::MicroTime => delimited(tag, out, |out| {
            let Ok(at) = time::parse(text()) else { return };
            // Go counts the part of a second forward, also before 1970.
            let nanos = at.subsec_nanosecond();
            let (seconds, nanos) = if nanos < 0 {
                (at.as_second() - 1, nanos + 1_000_000_000)
            } else {
                (at.as_second(), nanos)
            };
            number(1, seconds, out);
            number(
                2,
                i64::from(if scalar == Scalar::Time { 0 } else { nanos }),
                out,
            );
        }),
        Scalar::Duration => delimited(tag, out, |out| {
            number(1, time::parse_duration(text()).unwrap_or_default(), out);
        }),
        Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json => delimited(tag, out, |out| {
            bytes(1, value.json().as_bytes(), out);
        }),
    }
}
