//! Whether an object fits its schema as far as ownership goes: known fields, right types, items that can be told apart.
//!
//! Worded as structured-merge-diff words it; it prints values as Go's `%v` and `%#v` do.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    set::Step,
    typed::{ItemError, has_step, item_step},
};
use crate::{
    Object, go,
    schema::{ListSemantics, Scalar, Type, TypeRef},
};

/// Checks a configuration that is to be applied.
///
/// # Errors
/// `.spec.nope: field not declared in schema`, and so on; several are listed, a line each.
pub(super) fn configuration(config: &Object, ty: TypeRef<'_>, nulls: Nulls) -> Result<(), String> {
    let mut found = Found {
        complaints: Vec::new(),
        nulls,
    };
    members(config, ty, "", &mut found);
    match found.complaints.as_slice() {
        [] => Ok(()),
        [one] => Err(one.to_string()),
        several => {
            let lines: Vec<String> = several.iter().map(|c| format!("\n  {c}")).collect();
            Err(format!("errors:{}", lines.concat()))
        }
    }
}

/// What a null in a configuration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// No value, which any field may have.
    Allowed,
    /// A value of the null type, as an expression's is, which fits no field but those of any scalar.
    Refused,
}

/// What was found so far.
struct Found {
    complaints: Vec<Complaint>,
    nulls: Nulls,
}

/// Something wrong at some place.
struct Complaint {
    path: String,
    message: String,
}

impl std::fmt::Display for Complaint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

fn complain(found: &mut Found, path: &str, message: String) {
    found.complaints.push(Complaint {
        path: path.to_owned(),
        message,
    });
}

fn value(value: &Value, ty: TypeRef<'_>, path: &str, found: &mut Found) {
    if value.is_null() && found.nulls == Nulls::Allowed {
        return;
    }
    match ty.node() {
        Type::Object(kind) => match value.as_object() {
            Some(object) => members(object, ty, path, found),
            None if kind.untyped => {}
            None => complain(found, path, format!("expected map, got {}", pointed(value))),
        },
        Type::Map(map) => match value.as_object() {
            Some(entries) => {
                for (name, value) in entries {
                    self::value(value, ty.at(map.values), &format!("{path}.{name}"), found);
                }
            }
            None => complain(found, path, format!("expected map, got {}", pointed(value))),
        },
        Type::List(list) => match value.as_array() {
            Some(list_items) => items(list_items, &list.semantics, ty.at(list.items), path, found),
            None => complain(
                found,
                path,
                format!("expected list, got {}", pointed(value)),
            ),
        },
        Type::Scalar(scalar) => {
            if let Some(message) = scalar_message(*scalar, value) {
                complain(found, path, message);
            }
        }
        Type::Either(_) => {}
    }
}

/// The first unknown field ends it.
fn members(object: &Object, ty: TypeRef<'_>, path: &str, found: &mut Found) {
    let Type::Object(kind) = ty.node() else {
        return;
    };
    for (name, value) in object {
        let path = format!("{path}.{name}");
        match ty.field(name) {
            Some((_, inner)) => self::value(value, inner, &path, found),
            None if kind.preserve_unknown => {}
            None => {
                complain(found, &path, "field not declared in schema".to_owned());
                return;
            }
        }
    }
}

/// The first item that cannot be told from others ends it.
fn items(
    items: &[Value],
    semantics: &ListSemantics,
    inner: TypeRef<'_>,
    path: &str,
    found: &mut Found,
) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let step = match semantics {
            ListSemantics::Atomic => format!("i:{index}"),
            _ => match item_step(semantics, inner, item) {
                Ok(step) => {
                    if !seen.insert(step.clone()) {
                        let step = Step(&step);
                        complain(found, path, format!("duplicate entries for key {step}"));
                    }
                    step
                }
                Err(error) => {
                    complain(found, path, format!("element {index}: {error}"));
                    return;
                }
            },
        };
        value(item, inner, &format!("{path}{}", Step(&step)), found);
    }
}

fn scalar_message(scalar: Scalar, value: &Value) -> Option<String> {
    let composite = value.is_object() || value.is_array();
    match scalar {
        Scalar::String | Scalar::Bytes if !value.is_string() => Some(format!(
            "expected string, got &value.valueUnstructured{{Value:{}}}",
            match value {
                Value::Null => "0".to_owned(),
                value => go::syntax(value),
            }
        )),
        Scalar::Bool if !value.is_boolean() => {
            Some(format!("expected boolean, got {}", pointed(value)))
        }
        Scalar::Int32 | Scalar::Int64 | Scalar::Double if !value.is_number() => Some(format!(
            "expected numeric (int or float), got {}",
            match value {
                Value::Null => "structpb.NullValue",
                value => go::type_name(value),
            }
        )),
        Scalar::Time | Scalar::MicroTime | Scalar::Duration | Scalar::Quantity if composite => {
            Some(format!("expected any scalar, got {}", pointed(value)))
        }
        _ => None,
    }
}

/// Whether all items of keyed lists have a key, and those of sets are scalars: what cannot be owned is not tracked.
pub(super) fn items_have_keys(value: &Value, ty: TypeRef<'_>) -> bool {
    match (ty.node(), value) {
        (Type::Object(_), Value::Object(object)) => {
            let composite = |value: &Value| value.is_object() || value.is_array();
            let mut composites = object.iter().filter(|(_, value)| composite(value));
            composites.all(|(name, value)| match ty.field(name) {
                Some((_, inner)) => items_have_keys(value, inner),
                None => true,
            })
        }
        (Type::Map(map), Value::Object(entries)) => {
            let values = ty.at(map.values);
            match values.node() {
                Type::Scalar(_) => true,
                _ => entries.values().all(|value| items_have_keys(value, values)),
            }
        }
        (Type::List(list), Value::Array(items)) => {
            let inner = ty.at(list.items);
            let scalars = matches!(inner.node(), Type::Scalar(_));
            items.iter().all(|item| {
                has_step(&list.semantics, inner, item) && (scalars || items_have_keys(item, inner))
            })
        }
        _ => true,
    }
}

/// A pointer to a struct with a value in it, as Go's `%v` prints it.
fn pointed(value: &Value) -> String {
    match value {
        Value::Null => "&{NULL_VALUE}".to_owned(),
        value => format!("&{{{}}}", go::plain(value)),
    }
}

impl std::fmt::Display for ItemError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NullInKeyed => {
                f.write_str("associative list with keys may not have a null element")
            }
            Self::NoMapInKeyed => {
                f.write_str("associative list with keys may not have non-map elements")
            }
            Self::NoKeys(keys) => {
                let keys: Vec<String> = keys.iter().map(|key| crate::quote(key)).collect();
                write!(
                    f,
                    "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                    keys.join(" ")
                )
            }
            Self::MapInSet => {
                f.write_str("associative list without keys has an element that's a map type")
            }
            Self::ListInSet => {
                f.write_str("not supported: associative list with lists as elements")
            }
            Self::NullInSet => {
                f.write_str("associative list without keys has an element that's an explicit null")
            }
        }
    }
}
