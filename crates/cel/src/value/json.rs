//! From JSON, as declared; and back.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value as Json;

use super::{Instant, List, Map, Text, Value};
use crate::{declaration::Declaration, library::times, types::Type};

impl<'a> Value<'a> {
    /// Wraps JSON. Without a declaration, and where it says `dyn`, whole numbers are `int` and others `double`.
    pub fn from_json(json: &'a Json, declaration: Option<&'a Declaration>) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => {
                let double = matches!(
                    declaration.and_then(Declaration::scalar),
                    Some(Type::Double)
                );
                match number.as_i64() {
                    Some(value) if !double => Self::Int(value),
                    _ => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
                }
            }
            Json::String(text) => declaration
                .and_then(Declaration::scalar)
                .and_then(|ty| typed_text(text, ty))
                .unwrap_or(Self::String(Text::Borrowed(text))),
            Json::Array(items) => Self::List(List::Json { items, declaration }),
            Json::Object(object) => Self::Map(Map::Json {
                object,
                declaration,
            }),
        }
    }

    /// As JSON, if it has a form there: what expressions of mutating policies and message expressions yield.
    pub fn to_json(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Double(value) => Json::from(*value),
            Self::String(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
            Self::Duration(nanos) => Json::String(times::show_duration(*nanos)),
            Self::Timestamp(instant) => Json::String(instant.to_string()),
            Self::List(list) => {
                Json::Array(list.iter().map(|v| v.to_json()).collect::<Option<_>>()?)
            }
            Self::Map(map) => {
                let mut object = serde_json::Map::new();
                for (key, value) in map.entries() {
                    object.insert(key.as_str()?.to_owned(), value.to_json()?);
                }
                Json::Object(object)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Type(_) | Self::Optional(None) | Self::Opaque(_) => return None,
        })
    }
}

/// A text that stands for something else; what is malformed stays text, for validation complains of it elsewhere.
fn typed_text<'a>(text: &str, ty: &Type) -> Option<Value<'a>> {
    match ty {
        Type::Bytes => STANDARD.decode(text).ok().map(|b| Value::Bytes(b.into())),
        Type::Duration => apimachinery::time::parse_duration(text)
            .ok()
            .map(Value::Duration),
        Type::Timestamp => match text.len() {
            10 => Instant::parse(&format!("{text}T00:00:00Z")),
            _ => Instant::parse(text),
        }
        .map(Value::Timestamp),
        _ => None,
    }
}
