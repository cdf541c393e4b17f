//! Messages into trees, canonical like those that are decoded from JSON.

use std::str;

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::{Envelope, MAX_DEPTH, ProtobufError};
use crate::{
    Object,
    decode::canonical::{self, Slot},
    quantity::Quantity,
    schema::{Either, Field, Scalar, Type, TypeRef},
    time,
};

type Result<T> = std::result::Result<T, ProtobufError>;

/// A field's value on the wire.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
    /// Of old; nothing known is one.
    Group,
}

impl<'a> Wire<'a> {
    fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.unexpected()),
        }
    }

    fn text(self) -> Result<&'a str> {
        str::from_utf8(self.bytes()?).map_err(|_| ProtobufError::malformed("invalid UTF-8"))
    }

    fn number(self) -> Result<i64> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            other => Err(other.unexpected()),
        }
    }

    /// It is not of the type that its field is.
    fn unexpected(self) -> ProtobufError {
        ProtobufError::WrongWireType(match self {
            Self::Varint(_) => 0,
            Self::Fixed64(_) => 1,
            Self::Bytes(_) => 2,
            Self::Group => 3,
            Self::Fixed32 => 5,
        })
    }
}

/// The fields of a message, in the order of the wire.
struct Fields<'a> {
    raw: &'a [u8],
    /// What the message is, for errors.
    of: &'a str,
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.raw.split_first().ok_or(ProtobufError::Truncated)?;
            self.raw = rest;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::malformed("integer overflow"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self
            .raw
            .split_at_checked(length)
            .ok_or(ProtobufError::Truncated)?;
        self.raw = rest;
        Ok(bytes)
    }

    /// Bytes behind their number.
    fn counted(&mut self) -> Result<&'a [u8]> {
        let length = self.varint()? as i64;
        let length = usize::try_from(length)
            .map_err(|_| ProtobufError::malformed("negative length found during unmarshaling"))?;
        self.take(length)
    }

    /// The number of the next field, and the wire type of its value.
    fn key(&mut self) -> Result<Option<(u32, u8)>> {
        if self.raw.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let wire_type = (key & 7) as u8;
        if wire_type == 4 {
            let message = format!("{}: wiretype end group for non-group", self.of);
            return Err(ProtobufError::malformed(message));
        }
        let tag = (key >> 3) as i32;
        match u32::try_from(tag) {
            Ok(tag) if tag > 0 => Ok(Some((tag, wire_type))),
            _ => {
                let message = format!("{}: illegal tag {tag} (wire type {key})", self.of);
                Err(ProtobufError::malformed(message))
            }
        }
    }

    fn value(&mut self, wire_type: u8) -> Result<Wire<'a>> {
        Ok(match wire_type {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let mut fixed = [0; 8];
                fixed.copy_from_slice(self.take(8)?);
                Wire::Fixed64(u64::from_le_bytes(fixed))
            }
            2 => Wire::Bytes(self.counted()?),
            3 => {
                self.skip_group()?;
                Wire::Group
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            other => {
                let message = format!("illegal wireType {other}");
                return Err(ProtobufError::malformed(message));
            }
        })
    }

    /// Passes over a group, and the groups in it.
    fn skip_group(&mut self) -> Result<()> {
        let mut depth = 1;
        while depth > 0 {
            match (self.varint()? & 7) as u8 {
                3 => depth += 1,
                4 => depth -= 1,
                other => {
                    self.value(other)?;
                }
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>> {
        let Some((tag, wire_type)) = self.key()? else {
            return Ok(None);
        };
        Ok(Some((tag, self.value(wire_type)?)))
    }
}

pub(super) fn envelope(body: &[u8]) -> Result<Envelope<'_>> {
    let mut out = Envelope {
        api_version: "",
        kind: "",
        raw: b"",
        content_type: "",
    };
    let mut fields = Fields {
        raw: body,
        of: "Unknown",
    };
    while let Some((tag, wire)) = fields.next()? {
        match tag {
            1 => {
                let raw = wire.bytes()?;
                let mut fields = Fields {
                    raw,
                    of: "TypeMeta",
                };
                while let Some((tag, wire)) = fields.next()? {
                    match tag {
                        1 => out.api_version = wire.text()?,
                        2 => out.kind = wire.text()?,
                        _ => {}
                    }
                }
            }
            2 => out.raw = wire.bytes()?,
            4 => out.content_type = wire.text()?,
            _ => {}
        }
    }
    Ok(out)
}

pub(super) fn message(raw: &[u8], ty: TypeRef<'_>, depth: usize) -> Result<Object> {
    let mut out = Map::new();
    fields_into(&mut out, raw, ty, depth)?;
    if let Some(object) = ty.object() {
        for field in object.fields() {
            let Some(value) = out.get_mut(&*field.name) else {
                continue;
            };
            match canonical::slot(field, ty.at(field.ty), Some(value.take()), false) {
                Slot::Filled(filled) | Slot::Kept(filled) => *value = filled,
                Slot::Empty => {
                    out.remove(&*field.name);
                }
            }
        }
        canonical::fill(ty, object, &mut out);
    }
    Ok(out)
}

fn fields_into(out: &mut Object, raw: &[u8], ty: TypeRef<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(ProtobufError::malformed("exceeded max depth"));
    }
    let Some(object) = ty.object() else {
        return Ok(());
    };
    let of = object.go_name();
    let mut fields = Fields { raw, of };
    while let Some((tag, wire_type)) = fields.key()? {
        if let Some(inline) = object.inlines.iter().find(|inline| inline.tag == tag) {
            let raw = fields.value(wire_type)?.bytes()?;
            fields_into(out, raw, ty.at(inline.ty), depth + 1)?;
            continue;
        }
        let Some(field) = object.field_of_tag(tag) else {
            fields.value(wire_type)?;
            continue;
        };
        // Before the value is read, which may be none.
        if wire_type_of(ty.at(field.ty)).is_some_and(|expected| expected != wire_type) {
            return Err(ProtobufError::WrongWireType(wire_type).in_field(of, &field.name));
        }
        let wire = fields.value(wire_type)?;
        field_into(out, field, wire, ty.at(field.ty), depth + 1)
            .map_err(|error| error.in_field(of, &field.name))?;
    }
    Ok(())
}

/// The wire type of a field; `None` if it may have several.
fn wire_type_of(ty: TypeRef<'_>) -> Option<u8> {
    match ty.node() {
        Type::Scalar(Scalar::Bool | Scalar::Int32 | Scalar::Int64) => Some(0),
        Type::Scalar(Scalar::Double) => Some(1),
        Type::List(list) if !list.wrapped => {
            wire_type_of(ty.at(list.items)).filter(|wire_type| *wire_type == 2)
        }
        _ => Some(2),
    }
}

fn field_into(
    out: &mut Object,
    field: &Field,
    wire: Wire<'_>,
    ty: TypeRef<'_>,
    depth: usize,
) -> Result<()> {
    match ty.node() {
        Type::List(list) if !list.wrapped => {
            let item = item(wire, ty.at(list.items), depth)?;
            let list = out
                .entry(&*field.name)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(items) = list {
                items.push(item);
            }
        }
        Type::Map(map) => {
            let (name, value) = entry(wire.bytes()?, ty.at(map.values), depth)?;
            let map = out
                .entry(&*field.name)
                .or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(entries) = map {
                entries.insert(name, value);
            }
        }
        _ => {
            if let Some(value) = value(wire, ty, depth)? {
                out.insert(field.name.to_string(), value);
            }
        }
    }
    Ok(())
}

fn item(wire: Wire<'_>, ty: TypeRef<'_>, depth: usize) -> Result<Value> {
    Ok(value(wire, ty, depth)?.unwrap_or(Value::Null))
}

fn entry(raw: &[u8], ty: TypeRef<'_>, depth: usize) -> Result<(String, Value)> {
    let mut name = String::new();
    let mut found = canonical::zero(ty);
    let mut fields = Fields { raw, of: "entry" };
    while let Some((tag, wire_type)) = fields.key()? {
        // Keys and values have no other form, and upstream looks for none.
        let wire = match tag {
            1 | 2 => Wire::Bytes(fields.counted()?),
            _ => fields.value(wire_type)?,
        };
        match tag {
            1 => wire.text()?.clone_into(&mut name),
            2 => {
                found = match ty.node() {
                    Type::List(list) => wrapped(wire.bytes()?, ty.at(list.items), depth)?,
                    _ => item(wire, ty, depth)?,
                };
            }
            _ => {}
        }
    }
    Ok((name, found))
}

/// The items of a message that wraps a list.
fn wrapped(raw: &[u8], ty: TypeRef<'_>, depth: usize) -> Result<Value> {
    let mut items = Vec::new();
    let mut fields = Fields { raw, of: "message" };
    while let Some((tag, wire)) = fields.next()? {
        if tag == 1 {
            items.push(item(wire, ty, depth)?);
        }
    }
    Ok(Value::Array(items))
}

fn value(wire: Wire<'_>, ty: TypeRef<'_>, depth: usize) -> Result<Option<Value>> {
    match ty.node() {
        Type::Scalar(scalar) => self::scalar(wire, *scalar),
        Type::Object(_) => {
            message(wire.bytes()?, ty, depth).map(|object| Some(Value::Object(object)))
        }
        Type::List(list) => wrapped(wire.bytes()?, ty.at(list.items), depth).map(Some),
        Type::Either(either) => self::either(wire.bytes()?, *either, ty, depth).map(Some),
        Type::Map(_) => Err(ProtobufError::malformed("a map of maps")),
    }
}

fn either(raw: &[u8], either: Either, ty: TypeRef<'_>, depth: usize) -> Result<Value> {
    let (Either::ObjectOrList(inner)
    | Either::ObjectOrBool(inner)
    | Either::ObjectOrStrings(inner)) = either;
    let inner = ty.at(inner);
    let (mut object, mut items, mut flag) = (None, Vec::new(), false);
    let mut fields = Fields { raw, of: "message" };
    while let Some((tag, wire)) = fields.next()? {
        match (either, tag) {
            (Either::ObjectOrBool(_), 1) => flag = wire.number()? != 0,
            (Either::ObjectOrBool(_), 2) | (_, 1) => object = value(wire, inner, depth)?,
            (Either::ObjectOrList(_), 2) => items.push(item(wire, inner, depth)?),
            (Either::ObjectOrStrings(_), 2) => items.push(Value::from(wire.text()?)),
            _ => {}
        }
    }
    Ok(object.unwrap_or(match either {
        Either::ObjectOrBool(_) => Value::Bool(flag),
        _ => Value::Array(items),
    }))
}

/// The first two numbers and the first two texts of a message, by number: all that the special scalars need.
#[derive(Default)]
struct Small<'a> {
    numbers: [i64; 2],
    texts: [&'a [u8]; 3],
}

fn small(raw: &[u8]) -> Result<Small<'_>> {
    let mut out = Small::default();
    let mut fields = Fields { raw, of: "message" };
    while let Some((tag, wire)) = fields.next()? {
        match (tag, wire) {
            (1 | 2, Wire::Varint(value)) => out.numbers[tag as usize - 1] = value as i64,
            (1..=3, Wire::Bytes(bytes)) => out.texts[tag as usize - 1] = bytes,
            _ => {}
        }
    }
    Ok(out)
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    Wire::Bytes(bytes).text()
}

fn scalar(wire: Wire<'_>, scalar: Scalar) -> Result<Option<Value>> {
    Ok(Some(match scalar {
        Scalar::String => Value::from(wire.text()?),
        Scalar::Bool => Value::Bool(wire.number()? != 0),
        Scalar::Int32 => Value::from(wire.number()? as i32),
        Scalar::Int64 => Value::from(wire.number()?),
        Scalar::Double => match wire {
            Wire::Fixed64(bits) => {
                Number::from_f64(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
            }
            other => return Err(other.unexpected()),
        },
        Scalar::Bytes => Value::String(STANDARD.encode(wire.bytes()?)),
        Scalar::Quantity => {
            let text = utf8(small(wire.bytes()?)?.texts[0])?;
            let quantity: Quantity = text
                .parse()
                .map_err(|_| ProtobufError::malformed("invalid quantity"))?;
            Value::String(quantity.to_string())
        }
        Scalar::IntOrString => {
            let parts = small(wire.bytes()?)?;
            match parts.numbers[0] {
                0 => Value::from(parts.numbers[1] as i32),
                _ => Value::from(utf8(parts.texts[2])?),
            }
        }
        Scalar::Time | Scalar::MicroTime => {
            let raw = wire.bytes()?;
            if raw.is_empty() {
                return Ok(None);
            }
            let [seconds, nanos] = small(raw)?.numbers;
            let nanos = i32::try_from(nanos).unwrap_or_default();
            let at = Timestamp::new(seconds, nanos)
                .map_err(|_| ProtobufError::malformed("time out of range"))?;
            match scalar {
                Scalar::Time => Value::String(time::format(at)),
                _ => Value::String(time::format_micro(at)),
            }
        }
        Scalar::Duration => Value::String(time::format_duration(small(wire.bytes()?)?.numbers[0])),
        Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json => {
            let raw = small(wire.bytes()?)?.texts[0];
            if raw.is_empty() {
                return Ok(None);
            }
            serde_json::from_slice(raw).map_err(|_| ProtobufError::malformed("raw JSON is none"))?
        }
    }))
}
