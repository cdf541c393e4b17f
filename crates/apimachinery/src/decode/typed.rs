//! Decoding by schema: prunes, canonicalises and finds fault in one pass over the text.

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use super::{
    Findings,
    canonical::{self, Slot},
    scan::{Kind, Path, Scanner, Segment, SyntaxError, number_value},
};
use crate::{
    quantity::{Quantity, QuantityError},
    schema::{Either, Field, ObjectType, Scalar, Type, TypeRef},
    time,
};

type Result<T> = std::result::Result<T, SyntaxError>;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The struct and field around a value, for type errors and Go's names of types.
#[derive(Clone, Copy)]
struct Around<'s> {
    /// Innermost Go struct; its name stands in type errors.
    object: Option<&'s ObjectType>,
    field: Option<&'s Field>,
}

pub(super) struct Decoder<'a, 'f> {
    pub(super) scanner: Scanner<'a>,
    pub(super) findings: &'f mut Findings,
}

impl Decoder<'_, '_> {
    /// An object at the top of a body.
    pub(super) fn root(&mut self, ty: TypeRef<'_>) -> Result<Value> {
        let around = Around {
            object: None,
            field: None,
        };
        let value = self.value(ty, around, &Path::ROOT)?;
        self.scanner.end()?;
        Ok(value.unwrap_or(Value::Null))
    }

    /// `None` where Go leaves the zero value: for `null`, and for what could not be decoded.
    fn value(
        &mut self,
        ty: TypeRef<'_>,
        around: Around<'_>,
        path: &Path<'_>,
    ) -> Result<Option<Value>> {
        let kind = self.scanner.peek()?;
        if kind == Kind::Null {
            self.scanner.literal()?;
            return Ok(None);
        }
        match (ty.node(), kind) {
            (Type::Object(object), Kind::Object) => self.object(ty, object, path).map(Some),
            (Type::Map(map), Kind::Object) => {
                let values = ty.at(map.values);
                let mut out = Map::new();
                let mut key = self.scanner.first_key()?;
                while let Some(name) = key {
                    if out.contains_key(&*name) {
                        self.findings.duplicate(path.child(&name));
                    }
                    // Go's field stack knows no map keys, so that errors name the map.
                    let value = path
                        .within(Segment::Key(&name), |inner| {
                            self.value(values, around, inner)
                        })?
                        .or_else(|| canonical::zero_item(values, around.object));
                    if let Some(value) = value {
                        out.insert(name.into_owned(), value);
                    }
                    key = self.scanner.next_key()?;
                }
                Ok(Some(Value::Object(out)))
            }
            (Type::List(list), Kind::Array) => {
                let items = ty.at(list.items);
                let mut out = Vec::new();
                let mut more = self.scanner.first_item()?;
                while more {
                    let at = Segment::Index(out.len());
                    let value = path.within(at, |inner| self.value(items, around, inner))?;
                    out.push(
                        value
                            .or_else(|| canonical::zero_item(items, around.object))
                            .unwrap_or(Value::Null),
                    );
                    more = self.scanner.next_item()?;
                }
                Ok(Some(Value::Array(out)))
            }
            (Type::Either(either), _) => self.either(*either, kind, ty, around, path),
            (Type::Scalar(scalar), _) => self.scalar(*scalar, kind, ty, around, path),
            _ => self.mismatch(kind, ty, around, path),
        }
    }

    fn object(&mut self, ty: TypeRef<'_>, object: &ObjectType, path: &Path<'_>) -> Result<Value> {
        let mut out = Map::new();
        let mut seen = 0u128;
        let mut key = self.scanner.first_key()?;
        while let Some(name) = key {
            if let Some(at) = object.position(&name) {
                let field = &object.fields()[at];
                let bit = 1u128 << (at & 127);
                if seen & bit != 0 && (at < 128 || out.contains_key(&*name)) {
                    self.findings.duplicate(path.child(&name));
                }
                seen |= bit;
                let around = Around {
                    object: object.go.then_some(object),
                    field: Some(field),
                };
                let inner = ty.at(field.ty);
                let value =
                    path.within(Segment::Key(&field.name), |p| self.value(inner, around, p))?;
                if !object.go {
                    let value = value.or_else(|| field.nullable.then_some(Value::Null));
                    if let Some(value) = value {
                        out.insert(name.into_owned(), value);
                    }
                } else if let Slot::Filled(value) = canonical::slot(field, inner, value) {
                    out.insert(name.into_owned(), value);
                } else {
                    out.remove(&*name);
                }
            } else if let Some(additional) = object.additional {
                let around = Around {
                    object: None,
                    field: None,
                };
                let inner = ty.at(additional);
                let value = path.within(Segment::Key(&name), |p| self.value(inner, around, p))?;
                out.insert(name.into_owned(), value.unwrap_or(Value::Null));
            } else if object.preserve_unknown {
                let findings = &mut *self.findings;
                let scanner = &mut self.scanner;
                let value = path.within(Segment::Key(&name), |p| {
                    scanner.value(p, &mut |d| findings.duplicate(d))
                })?;
                out.insert(name.into_owned(), value);
            } else {
                self.findings.unknown(path.child(&name));
                self.scanner.skip()?;
            }
            key = self.scanner.next_key()?;
        }
        if object.go {
            canonical::fill(ty, object, &mut out);
        }
        Ok(Value::Object(out))
    }

    fn either(
        &mut self,
        either: Either,
        kind: Kind,
        ty: TypeRef<'_>,
        around: Around<'_>,
        path: &Path<'_>,
    ) -> Result<Option<Value>> {
        match (either, kind) {
            (Either::ObjectOrList(inner), Kind::Array) => {
                let mut out = Vec::new();
                let mut more = self.scanner.first_item()?;
                while more {
                    let at = Segment::Index(out.len());
                    let value = path.within(at, |p| self.value(ty.at(inner), around, p))?;
                    out.push(value.unwrap_or_else(|| Value::Object(Map::new())));
                    more = self.scanner.next_item()?;
                }
                Ok(Some(Value::Array(out)))
            }
            (
                Either::ObjectOrList(inner)
                | Either::ObjectOrBool(inner)
                | Either::ObjectOrStrings(inner),
                Kind::Object,
            ) => self.value(ty.at(inner), around, path),
            (Either::ObjectOrBool(_), Kind::Bool) => {
                Ok(Some(Value::Bool(self.scanner.literal()? == b't')))
            }
            (Either::ObjectOrStrings(_), Kind::Array) => self.any(path).map(Some),
            (Either::ObjectOrBool(_), _) => {
                self.fail("boolean or JSON schema expected".to_owned());
                self.scanner.skip().map(|()| None)
            }
            _ => self.mismatch(kind, ty, around, path),
        }
    }

    /// Any JSON, with its duplicate keys found.
    fn any(&mut self, path: &Path<'_>) -> Result<Value> {
        let findings = &mut *self.findings;
        self.scanner
            .value(&mut path.clone(), &mut |d| findings.duplicate(d))
    }

    fn scalar(
        &mut self,
        scalar: Scalar,
        kind: Kind,
        ty: TypeRef<'_>,
        around: Around<'_>,
        path: &Path<'_>,
    ) -> Result<Option<Value>> {
        match (scalar, kind) {
            (Scalar::String, Kind::String) => {
                Ok(Some(Value::String(self.scanner.string()?.into_owned())))
            }
            (Scalar::Bool, Kind::Bool) => Ok(Some(Value::Bool(self.scanner.literal()? == b't'))),
            (Scalar::Int32 | Scalar::Int64, Kind::Number) => {
                let text = self.scanner.number()?;
                let fits = |n: &i64| scalar == Scalar::Int64 || i32::try_from(*n).is_ok();
                match text.parse::<i64>().ok().filter(fits) {
                    Some(number) => Ok(Some(Value::from(number))),
                    None if around.object.is_none() => number_value(text).map(Some),
                    None => {
                        let kind = format!("number {text}");
                        self.fail(type_error(&kind, ty, around, path));
                        Ok(None)
                    }
                }
            }
            (Scalar::Double, Kind::Number) => number_value(self.scanner.number()?).map(Some),
            (Scalar::Bytes, Kind::String) => {
                let text = self.scanner.string()?;
                match bytes(&text) {
                    Ok(None) => Ok(Some(Value::String(text.into_owned()))),
                    Ok(Some(text)) => Ok(Some(Value::String(text))),
                    Err(message) => {
                        self.fail(message);
                        Ok(None)
                    }
                }
            }
            (Scalar::Quantity, Kind::String) => {
                let text = self.scanner.string()?;
                self.quantity(text.trim())
            }
            (Scalar::Quantity, Kind::Number) => {
                let text = self.scanner.number()?;
                self.quantity(text)
            }
            (Scalar::Quantity, _) => {
                self.scanner.skip()?;
                self.fail(QuantityError::Format.to_string());
                Ok(None)
            }
            (Scalar::IntOrString, Kind::String) => {
                Ok(Some(Value::String(self.scanner.string()?.into_owned())))
            }
            (Scalar::IntOrString, Kind::Number) => {
                let text = self.scanner.number()?;
                match text.parse::<i32>() {
                    Ok(number) => Ok(Some(Value::from(number))),
                    Err(_) => {
                        self.fail(go_value_error(&format!("number {text}"), "int32"));
                        Ok(None)
                    }
                }
            }
            (Scalar::IntOrString, _) => self.other_value(kind, "int32"),
            (Scalar::Time | Scalar::MicroTime, Kind::String) => {
                let text = self.scanner.string()?;
                Ok(self.time(scalar, text.into_owned()))
            }
            (Scalar::Duration, Kind::String) => {
                let text = self.scanner.string()?;
                match time::parse_duration(&text) {
                    Ok(nanos) => Ok(Some(Value::String(time::format_duration(nanos)))),
                    Err(message) => {
                        self.fail(message);
                        Ok(None)
                    }
                }
            }
            (Scalar::Time | Scalar::MicroTime | Scalar::Duration, _) => {
                self.other_value(kind, "string")
            }
            (Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json, _) => {
                // Raw JSON: duplicates in it are nobody's business.
                let mut ignore = |_| {};
                self.scanner.value(&mut path.clone(), &mut ignore).map(Some)
            }
            _ => self.mismatch(kind, ty, around, path),
        }
    }

    fn quantity(&mut self, text: &str) -> Result<Option<Value>> {
        match text.parse::<Quantity>() {
            Ok(quantity) => Ok(Some(Value::String(quantity.to_string()))),
            Err(error) => {
                self.fail(error.to_string());
                Ok(None)
            }
        }
    }

    fn time(&mut self, scalar: Scalar, text: String) -> Option<Value> {
        if scalar == Scalar::Time && time::is_canonical(&text) {
            return Some(Value::String(text));
        }
        let parsed = if scalar == Scalar::Time {
            time::parse(&text)
        } else {
            time::parse_micro(&text)
        };
        match parsed {
            Ok(at) => {
                let seconds = time::format(at);
                match scalar {
                    _ if seconds == time::ZERO => None,
                    Scalar::Time => Some(Value::String(seconds)),
                    _ => Some(Value::String(time::format_micro(at))),
                }
            }
            Err(message) => {
                self.fail(message);
                None
            }
        }
    }

    /// A type error of a value that decodes itself, so that it knows no field.
    fn other_value(&mut self, kind: Kind, go: &str) -> Result<Option<Value>> {
        self.scanner.skip()?;
        self.fail(go_value_error(kind.name(), go));
        Ok(None)
    }

    /// A value of the wrong type: noted in Go structs; kept elsewhere, where validation against the kind's own schema tells.
    fn mismatch(
        &mut self,
        kind: Kind,
        ty: TypeRef<'_>,
        around: Around<'_>,
        path: &Path<'_>,
    ) -> Result<Option<Value>> {
        let go = around.object.is_some() || ty.object().is_some_and(|o| o.go);
        if !go {
            return self.any(path).map(Some);
        }
        self.scanner.skip()?;
        self.fail(type_error(kind.name(), ty, around, path));
        Ok(None)
    }

    fn fail(&mut self, message: String) {
        self.findings.error.get_or_insert(message);
    }
}

fn go_value_error(kind: &str, go: &str) -> String {
    format!("json: cannot unmarshal {kind} into Go value of type {go}")
}

/// `json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool`.
fn type_error(kind: &str, ty: TypeRef<'_>, around: Around<'_>, path: &Path<'_>) -> String {
    let go = go_type(ty, around.field);
    let Some(object) = around.object else {
        return go_value_error(kind, &go);
    };
    let mut names = path.names();
    // Below a map the path has keys that Go's has not; the field's own name comes last.
    if let Some(field) = around.field
        && let Some(last) = names.iter().rposition(|n| **n == *field.name)
    {
        names.truncate(last + 1);
    }
    let struct_name = object.go_name();
    format!(
        "json: cannot unmarshal {kind} into Go struct field {struct_name}.{} of type {go}",
        names.join(".")
    )
}

/// Go's name of a type: `[]v1.Container`, `map[string]string`, `v1.PullPolicy`.
fn go_type(ty: TypeRef<'_>, field: Option<&Field>) -> String {
    let own = field.and_then(|f| f.go_type.as_deref());
    match ty.node() {
        Type::Scalar(scalar) => match scalar {
            Scalar::String => own.unwrap_or("string").to_owned(),
            Scalar::Bool => own.unwrap_or("bool").to_owned(),
            Scalar::Int32 => own.unwrap_or("int32").to_owned(),
            Scalar::Int64 => own.unwrap_or("int64").to_owned(),
            Scalar::Double => "float64".to_owned(),
            Scalar::Bytes => "[]uint8".to_owned(),
            Scalar::Quantity => "resource.Quantity".to_owned(),
            Scalar::IntOrString => "intstr.IntOrString".to_owned(),
            Scalar::Time => "v1.Time".to_owned(),
            Scalar::MicroTime => "v1.MicroTime".to_owned(),
            Scalar::Duration => "v1.Duration".to_owned(),
            Scalar::RawExtension => "runtime.RawExtension".to_owned(),
            Scalar::FieldsV1 => "v1.FieldsV1".to_owned(),
            Scalar::Json => "interface {}".to_owned(),
        },
        Type::Map(map) => format!("map[string]{}", go_type(ty.at(map.values), field)),
        Type::List(list) => format!("[]{}", go_type(ty.at(list.items), field)),
        Type::Object(object) => {
            let mut parts = object.name.rsplit('.');
            let name = parts.next().unwrap_or_default();
            format!("{}.{name}", parts.next().unwrap_or_default())
        }
        Type::Either(_) => "v1.JSONSchemaProps".to_owned(),
    }
}

/// Checks base64; `Some` if it has to be written anew because it has line breaks in it.
fn bytes(text: &str) -> std::result::Result<Option<String>, String> {
    let broken = text.contains(['\n', '\r']);
    let joined: String;
    let text = if broken {
        joined = text.replace(['\n', '\r'], "");
        &joined
    } else {
        text
    };
    match BASE64.decode(text) {
        Ok(_) => Ok(broken.then(|| text.to_owned())),
        Err(error) => {
            let at = match error {
                base64::DecodeError::InvalidByte(at, _) => at,
                _ => text.len() & !3,
            };
            Err(format!("illegal base64 data at input byte {at}"))
        }
    }
}
