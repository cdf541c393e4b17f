//! Decoding by schema: prunes, canonicalises and finds fault in one pass over the text.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

use super::{
    Findings, bytes,
    canonical::{self, Slot},
    scan::{Kind, Path, Scanner, Segment, SyntaxError, number_value},
};
use crate::{
    quantity::{Quantity, QuantityError},
    schema::{Either, Field, ObjectType, Scalar, Type, TypeRef},
    time,
};

type Result<T> = std::result::Result<T, SyntaxError>;

/// The struct and field around a value, for type errors and Go's names of types.
#[derive(Clone, Copy)]
struct Around<'s> {
    /// Innermost Go struct; its name stands in type errors.
    object: Option<TypeRef<'s>>,
    field: Option<&'s Field>,
    /// The struct whose field decodes itself, if the value is part of such a one: it stands in errors instead.
    boundary: Option<TypeRef<'s>>,
}

impl<'s> Around<'s> {
    const NONE: Around<'static> = Around {
        object: None,
        field: None,
        boundary: None,
    };
}

pub(super) struct Decoder<'a, 'f> {
    pub(super) scanner: Scanner<'a>,
    pub(super) findings: &'f mut Findings,
}

impl Decoder<'_, '_> {
    /// An object at the top of a body.
    pub(super) fn root(&mut self, ty: TypeRef<'_>) -> Result<Value> {
        let value = self.value(ty, Around::NONE, &Path::ROOT)?;
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
            (Type::Object(object), Kind::Object) => {
                self.object(ty, object, around.boundary, path).map(Some)
            }
            (Type::Map(map), Kind::Object) => {
                let values = ty.at(map.values);
                let mut out = Map::new();
                let mut key = self.scanner.first_key()?;
                while let Some(name) = key {
                    if out.contains_key(&*name) {
                        self.findings.duplicate(path.child(&name));
                    }
                    let value = path
                        .within(Segment::Key(&name), |inner| {
                            self.value(values, around, inner)
                        })?
                        .or_else(|| canonical::zero_item(values, around.object.is_some()));
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
                            .or_else(|| canonical::zero_item(items, around.object.is_some()))
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

    fn object(
        &mut self,
        ty: TypeRef<'_>,
        object: &ObjectType,
        boundary: Option<TypeRef<'_>>,
        path: &Path<'_>,
    ) -> Result<Value> {
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
                    object: object.go.then_some(ty),
                    field: Some(field),
                    boundary,
                };
                let inner = ty.at(field.ty);
                let step = Segment::Field(&field.name, ty);
                let value = path.within(step, |p| self.value(inner, around, p))?;
                if !object.go {
                    let value = value.or_else(|| field.nullable.then_some(Value::Null));
                    if let Some(value) = value {
                        out.insert(name.into_owned(), value);
                    }
                } else {
                    match canonical::slot(field, inner, value, self.findings.keep) {
                        Slot::Filled(value) => {
                            out.insert(name.into_owned(), value);
                        }
                        Slot::Kept(value) => {
                            self.findings.kept_empty = true;
                            out.insert(name.into_owned(), value);
                        }
                        Slot::Empty => {
                            out.remove(&*name);
                        }
                    }
                }
            } else if let Some(additional) = object.additional {
                let inner = ty.at(additional);
                let value =
                    path.within(Segment::Key(&name), |p| self.value(inner, Around::NONE, p))?;
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

    /// A value that decodes itself from either of two shapes. Strict validation does not look into it, and errors in it are those of the
    /// struct around it, after which Go decodes no further.
    fn either(
        &mut self,
        either: Either,
        kind: Kind,
        ty: TypeRef<'_>,
        around: Around<'_>,
        path: &Path<'_>,
    ) -> Result<Option<Value>> {
        let (Either::ObjectOrList(inner)
        | Either::ObjectOrBool(inner)
        | Either::ObjectOrStrings(inner)) = either;
        let inside = Around {
            boundary: around.boundary.or(around.object),
            ..around
        };
        let findings = std::mem::take(&mut self.findings.list);
        let error = self.findings.error.take();
        let value = match (either, kind) {
            (Either::ObjectOrList(_), Kind::Array) => {
                let mut out = Vec::new();
                let mut more = self.scanner.first_item()?;
                while more {
                    let at = Segment::Index(out.len());
                    let value = path.within(at, |p| self.value(ty.at(inner), inside, p))?;
                    out.push(value.unwrap_or_else(|| Value::Object(Map::new())));
                    more = self.scanner.next_item()?;
                }
                Some(Value::Array(out))
            }
            (_, Kind::Object) => self.value(ty.at(inner), inside, path)?,
            (Either::ObjectOrBool(_), Kind::Bool) => {
                Some(Value::Bool(self.scanner.literal()? == b't'))
            }
            (Either::ObjectOrStrings(_), Kind::Array) => Some(self.any(path)?),
            (Either::ObjectOrBool(_), _) => {
                self.abort("boolean or JSON schema expected".to_owned());
                self.scanner.skip()?;
                None
            }
            // Of no shape that it knows, nothing is taken.
            _ => {
                self.scanner.skip()?;
                Some(Value::Null)
            }
        };
        self.findings.list = findings;
        if let Some(own) = std::mem::replace(&mut self.findings.error, error) {
            self.abort(own);
        }
        Ok(value)
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
                match bytes::check(&text) {
                    Ok(None) => Ok(Some(Value::String(text.into_owned()))),
                    Ok(Some(text)) => Ok(Some(Value::String(text))),
                    Err(message) => {
                        self.fail(message);
                        Ok(None)
                    }
                }
            }
            (Scalar::Bytes, Kind::Array) if around.object.is_some() => {
                self.byte_list(around, path).map(Some)
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
                self.abort(QuantityError::Format.to_string());
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
                        let kind = format!("number {text}");
                        self.abort(field_error(&kind, "int32", around, path));
                        Ok(None)
                    }
                }
            }
            (Scalar::IntOrString, _) => self.self_decoded(kind, "int32", around, path),
            (Scalar::Time | Scalar::MicroTime, Kind::String) => {
                let text = self.scanner.string()?;
                Ok(self.time(scalar, text.into_owned()))
            }
            (Scalar::Duration, Kind::String) => {
                let text = self.scanner.string()?;
                match time::parse_duration(&text) {
                    Ok(nanos) => Ok(Some(Value::String(time::format_duration(nanos)))),
                    Err(message) => {
                        self.abort(message);
                        Ok(None)
                    }
                }
            }
            (Scalar::Time | Scalar::MicroTime | Scalar::Duration, _) => {
                self.self_decoded(kind, "string", around, path)
            }
            // What is no set of fields says so, and not as a string, which would be one of ours ([`crate::managed_fields::read`]).
            (Scalar::FieldsV1, Kind::String) => {
                self.scanner.skip()?;
                Ok(Some(Value::Array(Vec::new())))
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
                self.abort(error.to_string());
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
                self.abort(message);
                None
            }
        }
    }

    /// Bytes as a list of numbers, which Go takes, too.
    fn byte_list(&mut self, around: Around<'_>, path: &Path<'_>) -> Result<Value> {
        let mut bytes = Vec::new();
        let mut more = self.scanner.first_item()?;
        while more {
            let kind = self.scanner.peek()?;
            let byte = if kind == Kind::Number {
                let text = self.scanner.number()?;
                text.parse().map_err(|_| format!("number {text}"))
            } else {
                self.scanner.skip()?;
                if kind == Kind::Null {
                    Ok(0)
                } else {
                    Err(kind.name().to_owned())
                }
            };
            bytes.push(byte.unwrap_or_else(|kind| {
                self.fail(field_error(&kind, "uint8", around, path));
                0
            }));
            more = self.scanner.next_item()?;
        }
        Ok(Value::String(STANDARD.encode(bytes)))
    }

    /// A type error of a value that decodes itself: Go decodes no further.
    fn self_decoded(
        &mut self,
        kind: Kind,
        go: &str,
        around: Around<'_>,
        path: &Path<'_>,
    ) -> Result<Option<Value>> {
        self.scanner.skip()?;
        self.abort(field_error(kind.name(), go, around, path));
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

    /// Notes an error after which Go goes on: the first one counts, unless another one ends it.
    fn fail(&mut self, message: String) {
        self.findings.error.get_or_insert(message);
    }

    /// Notes an error that ends Go's decoding.
    fn abort(&mut self, message: String) {
        self.findings.fatal.get_or_insert(message);
    }
}

/// `json: cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool`.
fn type_error(kind: &str, ty: TypeRef<'_>, around: Around<'_>, path: &Path<'_>) -> String {
    field_error(kind, &go_type(ty, around), around, path)
}

fn field_error(kind: &str, go: &str, around: Around<'_>, path: &Path<'_>) -> String {
    let object = around.boundary.or(around.object).and_then(TypeRef::object);
    let Some(object) = object else {
        return format!("json: cannot unmarshal {kind} into Go value of type {go}");
    };
    format!(
        "json: cannot unmarshal {kind} into Go struct field {}.{} of type {go}",
        object.go_name(),
        path.fields().join(".")
    )
}

/// Go's name of a type: `[]v1.Container`, `map[string]string`, `v1.PullPolicy`.
fn go_type(ty: TypeRef<'_>, around: Around<'_>) -> String {
    container_name(ty, around).unwrap_or_else(|| plain_go_type(ty, around.field))
}

/// The name that a list or map type, or what is in it, has from its field.
fn container_name(ty: TypeRef<'_>, around: Around<'_>) -> Option<String> {
    let field = around.field?;
    let mut name: &str = field.go_container.as_deref()?;
    let mut at = ty.at(field.ty);
    while at.id() != ty.id() {
        (name, at) = match at.node() {
            Type::List(list) => (name.strip_prefix("[]")?, at.at(list.items)),
            Type::Map(map) => {
                let (_, values) = name.strip_prefix("map[")?.split_once(']')?;
                (values, at.at(map.values))
            }
            _ => return None,
        };
    }
    Some(name.to_owned())
}

pub(crate) fn plain_go_type(ty: TypeRef<'_>, field: Option<&Field>) -> String {
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
            Scalar::Json => "v1.JSON".to_owned(),
        },
        Type::Map(map) => format!("map[string]{}", plain_go_type(ty.at(map.values), field)),
        Type::List(list) => format!("[]{}", plain_go_type(ty.at(list.items), field)),
        Type::Object(object) => {
            let mut parts = object.name.rsplit('.');
            let name = parts.next().unwrap_or_default();
            format!("{}.{name}", parts.next().unwrap_or_default())
        }
        Type::Either(_) => "v1.JSONSchemaProps".to_owned(),
    }
}
