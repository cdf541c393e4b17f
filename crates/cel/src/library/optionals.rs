//! Optional values: `optional.of(x)`, `a.?b.orValue('c')`.

use super::{Result, arguments, failed, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "optional.of", "(A) -> optional_type(A)", Cost::Unit, of;
    "optional.ofNonZeroValue", "(A) -> optional_type(A)", Cost::Unit, of_non_zero;
    "optional.none", "() -> optional_type(A)", Cost::Unit, none;
    "value", "optional_type(A).() -> A", Cost::Unit, value;
    "hasValue", "optional_type(A).() -> bool", Cost::Unit, has_value;
    "or", "optional_type(A).(optional_type(A)) -> optional_type(A)", Cost::Unit, or;
    "orValue", "optional_type(A).(A) -> A", Cost::Unit, or_value;
    "first", "list(A).() -> optional_type(A)", Cost::Unit, first;
    "last", "list(A).() -> optional_type(A)", Cost::Unit, last;
    "optional.unwrap", "(list(optional_type(A))) -> list(A)", Cost::Unit, unwrap;
    "unwrapOpt", "list(optional_type(A)).() -> list(A)", Cost::Unit, unwrap;
}

fn of<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::some(value.clone()))
}

fn of_non_zero<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(if value.is_zero() {
        Value::Optional(None)
    } else {
        Value::some(value.clone())
    })
}

fn none<'a>(_: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Optional(None))
}

fn value<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Optional(inner)]);
    match inner {
        Some(value) => Ok((**value).clone()),
        None => failed("optional.none() dereference"),
    }
}

fn has_value<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Optional(inner)]);
    Ok(Value::Bool(inner.is_some()))
}

fn or<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Optional(first), Value::Optional(second)]);
    Ok(Value::Optional(first.as_ref().or(second.as_ref()).cloned()))
}

fn or_value<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Optional(inner), default]);
    Ok(inner.as_ref().map_or(default, |value| value).clone())
}

fn first<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    Ok(Value::Optional(list.get(0).map(Into::into)))
}

fn last<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    let at = list.len().checked_sub(1);
    Ok(Value::Optional(
        at.and_then(|at| list.get(at)).map(Into::into),
    ))
}

fn unwrap<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::List(list)]);
    let values = list.iter().filter_map(|item| match item {
        Value::Optional(inner) => inner.map(|value| (*value).clone()),
        other => Some(other),
    });
    Ok(Value::list(values.collect()))
}
