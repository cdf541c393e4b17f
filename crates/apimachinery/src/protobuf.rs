//! Protobuf over [`Schema`](crate::schema::Schema), byte for byte as upstream's generated code writes it.
//!
//! Fields come in the order of their numbers. What Go holds without pointer is always written, also when zero; what it holds by pointer only when
//! it is there. Maps are sorted by key. Objects travel in an envelope: the magic `k8s\0` and `runtime.Unknown` with version, kind and
//! the message. Nesting is bounded; a message that claims more than it has is an error.

mod borrowed;
mod list;
mod read;
mod tree;
pub mod wire;
mod write;

use std::borrow::Cow;

use serde_json::Value;

use crate::{Object, go, meta, schema::TypeRef};

pub use list::ListFrame;

/// What every envelope begins with.
pub const MAGIC: &[u8; 4] = b"k8s\0";
/// Nesting beyond this is refused.
const MAX_DEPTH: usize = 256;

/// Bytes that are no message of the type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// There are none.
    #[error("empty data")]
    Empty,
    /// There is nothing behind the magic.
    #[error("empty body")]
    EmptyBody,
    /// They do not begin with the magic.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    NoEnvelope,
    /// They end in the middle of something.
    #[error("unexpected EOF")]
    Truncated,
    /// They break the wire format.
    #[error("proto: {0}")]
    Malformed(Cow<'static, str>),
    /// A value is of another wire type than the field that it is to fill; the number of its type.
    #[error("proto: wrong wireType = {0}")]
    WrongWireType(u8),
}

impl ProtobufError {
    fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed(message.into())
    }

    /// The same, having named the field (of this struct, by its JSON name) that a value did not fit.
    fn in_field(self, type_name: &str, name: &str) -> Self {
        match self {
            Self::WrongWireType(wire_type) => Self::malformed(format!(
                "wrong wireType = {wire_type} for field {}",
                go::field_name(type_name, name)
            )),
            other => other,
        }
    }
}

/// An opened envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apiVersion` of the object.
    pub api_version: &'a str,
    /// Its kind.
    pub kind: &'a str,
    /// Its message.
    pub raw: &'a [u8],
    /// Media type of `raw` if it is not protobuf.
    pub content_type: &'a str,
}

/// Opens an envelope.
///
/// # Errors
/// Bytes that are none.
pub fn open(body: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    if body.is_empty() {
        return Err(ProtobufError::Empty);
    }
    match body.strip_prefix(MAGIC) {
        None => Err(ProtobufError::NoEnvelope),
        Some([]) => Err(ProtobufError::EmptyBody),
        Some(body) => read::envelope(body),
    }
}

/// Encodes an object with its envelope.
pub fn encode(object: &Object, ty: TypeRef<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(MAGIC);
    write::envelope(
        meta::api_version(object),
        meta::kind(object),
        &mut out,
        |out| {
            write::message(object, ty, out);
        },
    );
    out
}

/// Encodes an object's message alone.
pub fn encode_message(object: &Object, ty: TypeRef<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write::message(object, ty, &mut out);
    out
}

/// Encodes the object of this type whose JSON is at hand, without its envelope, and without making a tree of it. Members that the type does
/// not know are left out.
///
/// # Errors
/// What is no JSON object.
pub fn transcode_message(
    json: &[u8],
    ty: TypeRef<'_>,
    out: &mut Vec<u8>,
) -> Result<(), ProtobufError> {
    let malformed = ProtobufError::malformed("the object's JSON is damaged");
    let tree = borrowed::read(json, ty).map_err(|_| malformed.clone())?;
    let members = tree::Tree::members(&tree).ok_or(malformed)?;
    write::message(members, ty, out);
    Ok(())
}

/// The same with an envelope around it.
///
/// # Errors
/// What is no JSON object.
pub fn transcode(
    json: &[u8],
    ty: TypeRef<'_>,
    api_version: &str,
    kind: &str,
) -> Result<Vec<u8>, ProtobufError> {
    let mut out = Vec::with_capacity(json.len());
    out.extend_from_slice(MAGIC);
    let mut result = Ok(());
    write::envelope(api_version, kind, &mut out, |out| {
        result = transcode_message(json, ty, out);
    });
    result.map(|()| out)
}

/// Puts a message that is encoded already, or bytes of another media type, into an envelope.
pub fn seal(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + 64);
    out.extend_from_slice(MAGIC);
    write::envelope(api_version, kind, &mut out, |out| {
        out.extend_from_slice(raw)
    });
    out
}

/// Decodes a message of this type, without its envelope. `apiVersion` and `kind` are put into the object if they are not empty.
///
/// # Errors
/// Bytes that are no such message. Numbers that the type does not know are skipped.
pub fn decode(
    raw: &[u8],
    ty: TypeRef<'_>,
    api_version: &str,
    kind: &str,
) -> Result<Object, ProtobufError> {
    let mut object = read::message(raw, ty, 0)?;
    for (key, value) in [("apiVersion", api_version), ("kind", kind)] {
        if !value.is_empty() {
            object.insert(key.to_owned(), Value::from(value));
        }
    }
    Ok(object)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::schema::{
        Either, Field, Inline, ListSemantics, ListType, MapType, ObjectType, Omit, Scalar, Schema,
        Type, TypeId,
    };

    fn schema() -> (Schema, TypeId) {
        let mut schema = Schema::new();
        let scalar = Schema::scalar;
        let field = |name: &str, ty, tag, pointer| {
            let mut field = Field::new(name, ty);
            (field.tag, field.pointer, field.omit) = (tag, pointer, Omit::Empty);
            field
        };
        let go = |mut object: ObjectType| {
            object.go = true;
            Type::Object(object)
        };
        let inline = ObjectType::new("I", vec![field("path", scalar(Scalar::String), 1, true)]);
        let inline = schema.add(go(inline));
        let semantics = ListSemantics::Atomic;
        let list = schema.add(Type::List(ListType {
            items: scalar(Scalar::Int32),
            semantics,
            wrapped: false,
        }));
        let map = schema.add(Type::Map(MapType {
            values: scalar(Scalar::Quantity),
            atomic: false,
            wrapped_values: false,
        }));
        let mut path = field("path", scalar(Scalar::String), 1, true);
        path.inlined = true;
        let mut root = ObjectType::new(
            "R",
            vec![
                field("name", scalar(Scalar::String), 1, false),
                field("ports", list, 9, false),
                field("limits", map, 3, false),
                field("at", scalar(Scalar::Time), 4, true),
                field("target", scalar(Scalar::IntOrString), 5, true),
                field("flag", scalar(Scalar::Bool), 6, true),
                field("data", scalar(Scalar::Bytes), 7, false),
                path,
            ],
        );
        root.inlines = vec![Inline { tag: 2, ty: inline }];
        let root = schema.add(go(root));
        (schema, root)
    }

    #[test]
    fn what_is_wrong_is_said_as_generated_decoders_say_it() {
        let (schema, root) = schema();
        let refusal = |raw: &[u8]| {
            let decoded = decode(raw, schema.get(root), "", "");
            decoded.unwrap_err().to_string()
        };
        for (raw, message) in [
            (&[0x08, 5][..], "proto: wrong wireType = 0 for field Name"),
            (&[0x4A, 1, 7], "proto: wrong wireType = 2 for field Ports"),
            (
                &[0x0B, 0x08, 1, 0x0C],
                "proto: wrong wireType = 3 for field Name",
            ),
            (&[0x0C], "proto: R: wiretype end group for non-group"),
            (&[0x00, 1], "proto: R: illegal tag 0 (wire type 0)"),
            (&[0x0E], "proto: wrong wireType = 6 for field Name"),
            (&[0xFE, 1], "proto: illegal wireType 6"),
            (&[0x0A, 9, b'x'], "unexpected EOF"),
            (
                &[
                    0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01,
                ],
                "proto: negative length found during unmarshaling",
            ),
            // The value of a map is counted bytes, whatever its key says.
            (&[0x1A, 5, 0x0A, 1, b'a', 0x10, 5], "unexpected EOF"),
        ] {
            assert_eq!(refusal(raw), message, "{raw:?}");
        }
        // Groups that nobody knows are passed over, with what is in them.
        let group = [0xFB, 1, 0xFB, 1, 0x08, 1, 0xFC, 1, 0xFC, 1, 0x0A, 1, b'n'];
        let decoded = decode(&group, schema.get(root), "", "").unwrap();
        assert_eq!(decoded["name"], "n");
    }

    #[test]
    fn messages_come_back() {
        let (schema, root) = schema();
        let ty = schema.get(root);
        let object = json!({"name": "n", "ports": [1, -1], "limits": {"b": "1", "a": "500m"},
            "at": "2024-01-02T03:04:05Z", "target": "http", "flag": false, "data": "AQI=", "path": "/x"});
        let object = object.as_object().unwrap();
        let raw = encode_message(object, ty);
        assert_eq!(&decode(&raw, ty, "", "").unwrap(), object);
        let mut transcoded = Vec::new();
        let text = serde_json::to_vec(object).unwrap();
        transcode_message(&text, ty, &mut transcoded).unwrap();
        assert_eq!(transcoded, raw);
        for end in 0..raw.len() {
            // No prefix may panic; most are errors.
            let _ = decode(&raw[..end], ty, "", "");
        }
        // Only what has no pointer is written when nothing is set: the name and the inlined struct.
        assert_eq!(encode_message(&Object::new(), ty), [0x0A, 0, 0x12, 0]);
    }

    #[test]
    fn what_is_opaque_within_a_choice_of_shapes_stays_as_it_is() {
        let mut schema = Schema::new();
        let json = Schema::scalar(Scalar::Json);
        let values = schema.add(Type::List(ListType {
            items: json,
            semantics: ListSemantics::Atomic,
            wrapped: false,
        }));
        let field = |name, ty, tag| {
            let mut field = Field::new(name, ty);
            (field.tag, field.pointer, field.omit) = (tag, true, Omit::Empty);
            field
        };
        let fields = vec![field("default", json, 1), field("enum", values, 2)];
        let mut props = ObjectType::new("P", fields);
        props.go = true;
        let props = schema.add(Type::Object(props));
        let value = json!({"default": {"b": 1, "a": [null]}, "enum": ["x", 1.5, null, true]});
        for (either, wire) in [
            (Either::ObjectOrList(props), json!(value)),
            (Either::ObjectOrList(props), json!([value, {"enum": ["y"]}])),
            (Either::ObjectOrBool(props), json!(value)),
            (Either::ObjectOrBool(props), json!(false)),
            (Either::ObjectOrStrings(props), json!(value)),
            (Either::ObjectOrStrings(props), json!(["a", "b"])),
        ] {
            let choice = schema.add(Type::Either(either));
            let mut root = ObjectType::new("R", vec![field("choice", choice, 1)]);
            root.go = true;
            let root = schema.add(Type::Object(root));
            let ty = schema.get(root);
            let object = json!({ "choice": wire });
            let mut raw = Vec::new();
            transcode_message(&serde_json::to_vec(&object).unwrap(), ty, &mut raw).unwrap();
            assert_eq!(decode(&raw, ty, "", "").map(Value::Object), Ok(object));
        }
    }

    #[test]
    fn envelopes_open() {
        let body = seal("v1", "Pod", b"\x0A\x00");
        let envelope = open(&body).unwrap();
        assert_eq!(
            (envelope.api_version, envelope.kind, envelope.raw),
            ("v1", "Pod", &b"\x0A\x00"[..])
        );
        assert_eq!(open(b"{}"), Err(ProtobufError::NoEnvelope));
        assert_eq!(open(b""), Err(ProtobufError::Empty));
        assert_eq!(open(MAGIC), Err(ProtobufError::EmptyBody));
    }
}
