//! Fields, items and entries of values, with and without `?`.

use crate::{
    error::EvalError,
    function::Overload,
    library::conversions::show_double,
    value::{Map, Value},
};

use super::Evaluated;

/// `operand.field`. Of an optional, an optional.
pub(super) fn select<'a>(operand: Value<'a>, field: &str) -> Evaluated<'a> {
    match &operand {
        Value::Map(map) => map
            .field(field)
            .ok_or_else(|| EvalError::no_such_key(field)),
        Value::Optional(_) => optional_field(&operand, field),
        Value::List(_) => Err(no_index(&Value::from(field))),
        // Upstream looks for a key in whatever there is.
        _ => Err(EvalError::no_such_key(field)),
    }
}

/// `operand.?field`.
pub(super) fn optional_field<'a>(operand: &Value<'a>, field: &str) -> Evaluated<'a> {
    match operand {
        Value::Map(map) => Ok(optional(map.field(field))),
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => optional_field(inner, field),
        Value::List(_) => Err(no_index(&Value::from(field))),
        _ => Ok(Value::Optional(None)),
    }
}

fn optional(value: Option<Value<'_>>) -> Value<'_> {
    value.map_or(Value::Optional(None), Value::some)
}

/// `operand[index]`, `operand[?index]`.
pub(super) fn index<'a>(operand: Value<'a>, index: &Value<'a>, as_optional: bool) -> Evaluated<'a> {
    match &operand {
        Value::Optional(None) => Ok(Value::Optional(None)),
        Value::Optional(Some(inner)) => self::index((**inner).clone(), index, true),
        Value::List(_) | Value::Map(_) if as_optional => Ok(optional(find(&operand, index)?)),
        _ if as_optional => Ok(Value::Optional(None)),
        _ => find(&operand, index)?.ok_or_else(|| missing(&operand, index)),
    }
}

/// The item or entry, if there is one; an error if there can be none of such a kind.
fn find<'a>(operand: &Value<'a>, index: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
    match operand {
        Value::List(list) => {
            let at = match index {
                Value::Int(at) => *at,
                Value::Uint(at) => i64::try_from(*at).unwrap_or(i64::MAX),
                Value::Double(at) if at.fract() == 0.0 => *at as i64,
                Value::Double(at) => {
                    let at = show_double(*at);
                    return Err(EvalError::failed(format!(
                        "unsupported index value {at} in list"
                    )));
                }
                _ => return Err(no_index(index)),
            };
            Ok(usize::try_from(at).ok().and_then(|at| list.get(at)))
        }
        Value::Map(map) => Ok(map.get(index)),
        _ => Err(EvalError::no_such_key(&show_key(index))),
    }
}

/// What is no place in a list.
pub(super) fn no_index(index: &Value<'_>) -> EvalError {
    EvalError::failed(format!(
        "unsupported index type '{}' in list",
        index.type_of().name()
    ))
}

fn missing(operand: &Value<'_>, index: &Value<'_>) -> EvalError {
    match operand {
        Value::List(_) => EvalError::failed(format!("index out of bounds: {}", show_key(index))),
        _ => EvalError::no_such_key(&show_key(index)),
    }
}

/// A key or index as errors show it.
pub(super) fn show_key(key: &Value<'_>) -> String {
    match key {
        Value::String(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        other => other.type_of().name().to_owned(),
    }
}

/// The value of an item marked `?`: none if its optional has none.
pub(super) fn unwrap(value: Value<'_>, optional: bool) -> Result<Option<Value<'_>>, EvalError> {
    match value {
        Value::Optional(inner) if optional => Ok(inner.map(|value| (*value).clone())),
        other if optional => Err(EvalError::failed(format!(
            "cannot initialize optional entry from non-optional value of type {}",
            other.type_of().name()
        ))),
        other => Ok(Some(other)),
    }
}

/// No overload fits: the function and what it was given.
pub(super) fn no_overload(overloads: &[&'static Overload], args: &[Value<'_>]) -> EvalError {
    let name = overloads.first().map_or("", |overload| overload.function);
    let types: Vec<_> = args
        .iter()
        .map(|arg| match arg {
            Value::Map(Map::Composed) => "map".to_owned(),
            _ => arg.type_of().name().to_owned(),
        })
        .collect();
    EvalError::failed(format!("no such overload: {name}({})", types.join(", ")))
}
