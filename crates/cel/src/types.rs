//! Types of expressions and values.
//!
//! They print as cel-go prints them in errors: `list(string)`, `map(string, dyn)`, `optional_type(int)`.

use std::{fmt, sync::Arc};

use crate::declaration::ObjectType;

/// The type of an expression.
#[derive(Clone, PartialEq, Eq)]
pub enum Type {
    /// Anything; checked when it is evaluated.
    Dyn,
    /// Of what has already been complained about.
    Error,
    /// `null`.
    Null,
    /// `bool`.
    Bool,
    /// 64 bits, signed.
    Int,
    /// 64 bits, unsigned.
    Uint,
    /// 64 bits of floating point.
    Double,
    /// Unicode text.
    String,
    /// Octets.
    Bytes,
    /// `google.protobuf.Duration`.
    Duration,
    /// `google.protobuf.Timestamp`.
    Timestamp,
    /// Of elements.
    List(Arc<Type>),
    /// From keys to values.
    Map(Arc<(Type, Type)>),
    /// A value or none.
    Optional(Arc<Type>),
    /// A type as a value.
    Type(Arc<Type>),
    /// Has declared fields.
    Object(Arc<ObjectType>),
    /// Known to functions alone: `kubernetes.Quantity`.
    Opaque(&'static str),
    /// A variable in the declaration of a function, or a fresh one of the checker.
    Param(u32),
}

impl Type {
    /// `list(items)`.
    pub fn list(items: Self) -> Self {
        Self::List(Arc::new(items))
    }

    /// `map(keys, values)`.
    pub fn map(keys: Self, values: Self) -> Self {
        Self::Map(Arc::new((keys, values)))
    }

    /// `optional_type(value)`.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// `type(of)`.
    pub fn type_of(of: Self) -> Self {
        Self::Type(Arc::new(of))
    }

    /// What the type is called as a value: `type([]) == list`.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Dyn => "dyn",
            Self::Error => "!error!",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Duration => "google.protobuf.Duration",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Object(object) => object.name(),
            Self::Opaque(name) => name,
            Self::Param(_) => "type_param",
        }
    }

    /// As policies' errors name the type: like `Display`, but for the long names of times and null.
    pub fn declared_name(&self) -> String {
        match self {
            Self::Null | Self::Duration | Self::Timestamp => self.name().to_owned(),
            Self::List(of) => format!("list({})", of.declared_name()),
            Self::Optional(of) => format!("optional_type({})", of.declared_name()),
            Self::Map(map) => {
                let (keys, values) = (map.0.declared_name(), map.1.declared_name());
                format!("map({keys}, {values})")
            }
            _ => self.to_string(),
        }
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// Whether all its values have the same size.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Self::Bool
            | Self::Int
            | Self::Uint
            | Self::Double
            | Self::Duration
            | Self::Timestamp => true,
            Self::Optional(of) => of.is_scalar(),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Duration => f.write_str("duration"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::List(items) => write!(f, "list({items})"),
            Self::Map(map) => write!(f, "map({}, {})", map.0, map.1),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type(of) if matches!(**of, Self::Dyn) => f.write_str("type"),
            Self::Type(of) => write!(f, "type({of})"),
            Self::Param(at) if *at < 26 => {
                write!(
                    f,
                    "{}",
                    char::from(b'A' + u8::try_from(*at).unwrap_or_default())
                )
            }
            Self::Param(at) => write!(f, "_var{at}"),
            _ => f.write_str(self.name()),
        }
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Reads a type as it stands in the tables of functions: `list(int)`, `map(A, B)`, `kubernetes.Quantity`.
pub(crate) fn parse(text: &'static str) -> Type {
    let text = text.trim();
    if let Some((head, inside)) = text.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let mut parts = split(inside).into_iter().map(parse);
        let first = parts.next().expect("a type in parentheses");
        return match head {
            "list" => Type::list(first),
            "map" => Type::map(first, parts.next().expect("a map has values")),
            "optional_type" => Type::optional(first),
            "type" => Type::type_of(first),
            _ => unreachable!("no such type in the tables: {text}"),
        };
    }
    match text {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "duration" => Type::Duration,
        "timestamp" => Type::Timestamp,
        _ => match text.as_bytes() {
            [letter @ b'A'..=b'Z'] => Type::Param(u32::from(letter - b'A')),
            _ => Type::Opaque(text),
        },
    }
}

/// Splits at the commas outside of parentheses.
pub(crate) fn split(text: &'static str) -> Vec<&'static str> {
    let mut depth = 0;
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(text[start..].trim());
    }
    parts
}
