//! Validation errors tied to a field, worded as `k8s.io/apimachinery/pkg/util/validation/field` words them.

use std::fmt;

use serde_json::Value;

use crate::go;

/// Bytes that a path has without an allocation.
const SHORT: usize = 94;

/// Where in an object: `spec.containers[0].name`, `metadata.labels[app]`. Validation makes one for each field it looks at, right or wrong, so
/// that paths of usual length stand without an allocation.
#[derive(Clone)]
pub struct Path(Text);

#[derive(Clone)]
enum Text {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(String),
}

impl Path {
    /// The path of a top-level field; `Path::new("")` is the root.
    pub fn new(name: &str) -> Self {
        Self::default().with(&[name])
    }

    /// The field `name` of this one.
    pub fn child(&self, name: &str) -> Self {
        match self.is_root() {
            true => Self::new(name),
            false => self.with(&[".", name]),
        }
    }

    /// The `index`-th item of this list.
    pub fn index(&self, index: usize) -> Self {
        const SMALL: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];
        match SMALL.get(index) {
            Some(digit) => self.with(&["[", digit, "]"]),
            None => self.with(&["[", &index.to_string(), "]"]),
        }
    }

    /// The entry `key` of this map.
    pub fn key(&self, key: &str) -> Self {
        self.with(&["[", key, "]"])
    }

    /// The path as it stands in messages.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::Short { length, bytes } => std::str::from_utf8(&bytes[..usize::from(*length)])
                .expect("put together from strings"),
            Text::Long(text) => text,
        }
    }

    fn is_root(&self) -> bool {
        matches!(self.0, Text::Short { length: 0, .. })
    }

    fn with(&self, parts: &[&str]) -> Self {
        if let Text::Short { length, bytes } = &self.0
            && let Some(short) = extended(usize::from(*length), *bytes, parts)
        {
            return Self(short);
        }
        let mut out = self.as_str().to_owned();
        out.extend(parts.iter().copied());
        Self(Text::Long(out))
    }
}

/// A short text and what follows it, if that is short, too.
fn extended(mut length: usize, mut bytes: [u8; SHORT], parts: &[&str]) -> Option<Text> {
    for part in parts {
        let end = length + part.len();
        bytes.get_mut(length..end)?.copy_from_slice(part.as_bytes());
        length = end;
    }
    let length = u8::try_from(length).ok()?;
    Some(Text::Short { length, bytes })
}

impl Default for Path {
    fn default() -> Self {
        Self(Text::Short {
            length: 0,
            bytes: [0; SHORT],
        })
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Path {}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() {
            "<nil>"
        } else {
            self.as_str()
        })
    }
}

/// What is wrong with a field; the names are the `reason` of a `StatusCause`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    /// The value referred to does not exist.
    NotFound,
    /// A required value is missing.
    Required,
    /// A value that must be unique stands twice.
    Duplicate,
    /// Malformed.
    Invalid,
    /// Not one of the supported values.
    NotSupported,
    /// Well formed, but not allowed here.
    Forbidden,
    /// Longer than allowed.
    TooLong,
    /// More items than allowed.
    TooMany,
    /// Something went wrong that is not the field's fault.
    Internal,
    /// Of the wrong JSON type.
    TypeInvalid,
    /// Fewer items than required.
    TooFew,
}

impl ErrorType {
    /// The `reason` of the cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::TooFew => "FieldValueTooFew",
        }
    }

    /// The words that open the message.
    pub fn describe(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
            Self::TypeInvalid => "Invalid value",
            Self::TooFew => "Too few",
        }
    }
}

/// One complaint about one field.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    /// What sort.
    pub kind: ErrorType,
    /// Where; for messages, see [`FieldError::body`].
    pub field: Path,
    /// The offending value, where the message shows it.
    pub bad_value: Option<Value>,
    /// What is wrong with it.
    pub detail: String,
}

/// All complaints, in the order upstream makes them.
pub type ErrorList = Vec<FieldError>;

impl FieldError {
    fn new(
        kind: ErrorType,
        field: &Path,
        bad_value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            field: field.clone(),
            bad_value,
            detail: detail.into(),
        }
    }

    /// `Invalid value: <value>: <detail>`.
    pub fn invalid(field: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, field, Some(value.into()), detail)
    }

    /// `Required value: <detail>`.
    pub fn required(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Required, field, None, detail)
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(field: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::Duplicate, field, Some(value.into()), "")
    }

    /// `Forbidden: <detail>`.
    pub fn forbidden(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Forbidden, field, None, detail)
    }

    /// `Not found: <value>`.
    pub fn not_found(field: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::NotFound, field, Some(value.into()), "")
    }

    /// `Unsupported value: <value>: supported values: "a", "b"`. The values are sorted by the caller as upstream has them.
    pub fn not_supported(field: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| crate::quote(s)).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(ErrorType::NotSupported, field, Some(value.into()), detail)
    }

    /// `Too long: may not be more than <max> bytes`.
    pub fn too_long(field: &Path, max_bytes: usize) -> Self {
        let unit = if max_bytes == 1 { "byte" } else { "bytes" };
        Self::new(
            ErrorType::TooLong,
            field,
            None,
            format!("may not be more than {max_bytes} {unit}"),
        )
    }

    /// `Too many: <actual>: must have at most <max> items`.
    pub fn too_many(field: &Path, actual: usize, max: usize) -> Self {
        let unit = if max == 1 { "item" } else { "items" };
        Self::new(
            ErrorType::TooMany,
            field,
            Some(actual.into()),
            format!("must have at most {max} {unit}"),
        )
    }

    /// `Invalid value: <value>: <detail>`, of the wrong JSON type.
    pub fn type_invalid(field: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::TypeInvalid, field, Some(value.into()), detail)
    }

    /// `Internal error: <detail>`.
    pub fn internal(field: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Internal, field, None, detail)
    }

    /// The message without the field: the `message` of a `StatusCause`.
    pub fn body(&self) -> String {
        let mut out = self.kind.describe().to_owned();
        if let Some(value) = &self.bad_value {
            out.push_str(": ");
            out.push_str(&display_value(value));
        }
        if !self.detail.is_empty() {
            out.push_str(": ");
            out.push_str(&self.detail);
        }
        out
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Values as upstream prints them: strings quoted as Go's `%q`, scalars bare, `null` for nothing, the rest as compact JSON.
fn display_value(value: &Value) -> String {
    match value {
        Value::String(s) => crate::quote(s),
        Value::Number(number) if !number.is_i64() && !number.is_u64() => {
            go::float(number.as_f64().unwrap_or_default())
        }
        other => go::json(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_any_length_read_as_they_were_put_together() {
        let mut path = Path::new("");
        assert_eq!((path.as_str(), path.to_string()), ("", "<nil>".to_owned()));
        let mut expected = String::new();
        for step in 0..60 {
            let dot = if expected.is_empty() { "" } else { "." };
            path = match step % 3 {
                0 => path.child("ä"),
                1 => path.index(step),
                _ => path.key("k/ü"),
            };
            expected.push_str(&match step % 3 {
                0 => format!("{dot}ä"),
                1 => format!("[{step}]"),
                _ => "[k/ü]".to_owned(),
            });
            assert_eq!(path.to_string(), expected);
            assert_eq!(path, path.clone());
        }
        for length in SHORT - 1..=SHORT + 1 {
            let name = "n".repeat(length);
            assert_eq!(Path::new(&name).as_str(), name);
            assert_eq!(
                Path::new(&name[1..]).child("").as_str(),
                format!("{}.", &name[1..])
            );
        }
    }
}
