//! The operators: arithmetic, comparison, logic, membership, size.
//!
//! One evaluation function serves all overloads of an operator and looks at the values itself. Arithmetic never wraps: what does not fit is an error.

use std::cmp::Ordering;

use super::{Result, arguments, failed, mismatch, rows, text};
use crate::{
    cost::Cost,
    error::EvalError,
    value::{Instant, Map, Value, bounded_equal, compare, equal},
};

rows! {
    "_?_:_", "(bool, A, A) -> A", Cost::Unit, planned;
    "_&&_", "(bool, bool) -> bool", Cost::Unit, planned;
    "_||_", "(bool, bool) -> bool", Cost::Unit, planned;
    "@not_strictly_false", "(bool) -> bool", Cost::Unit, planned;
    "_[_]", "(list(A), int) -> A", Cost::Unit, planned;
    "_[_]", "(map(A, B), A) -> B", Cost::Unit, planned;
    "_[_]", "(optional_type(list(A)), int) -> optional_type(A)", Cost::Unit, planned;
    "_[_]", "(optional_type(map(A, B)), A) -> optional_type(B)", Cost::Unit, planned;
    "_[?_]", "(list(A), int) -> optional_type(A)", Cost::Unit, planned;
    "_[?_]", "(optional_type(list(A)), int) -> optional_type(A)", Cost::Unit, planned;
    "_[?_]", "(map(A, B), A) -> optional_type(B)", Cost::Unit, planned;
    "_[?_]", "(optional_type(map(A, B)), A) -> optional_type(B)", Cost::Unit, planned;
    "!_", "(bool) -> bool", Cost::Unit, not;
    "-_", "(double) -> double", Cost::Unit, negate;
    "-_", "(int) -> int", Cost::Unit, negate;
    "_+_", "(bytes, bytes) -> bytes", Cost::Concat, add;
    "_+_", "(double, double) -> double", Cost::Unit, add;
    "_+_", "(duration, duration) -> duration", Cost::Unit, add;
    "_+_", "(duration, timestamp) -> timestamp", Cost::Unit, add;
    "_+_", "(timestamp, duration) -> timestamp", Cost::Unit, add;
    "_+_", "(int, int) -> int", Cost::Unit, add;
    "_+_", "(list(A), list(A)) -> list(A)", Cost::ConcatList, add;
    "_+_", "(string, string) -> string", Cost::Concat, add;
    "_+_", "(uint, uint) -> uint", Cost::Unit, add;
    "_-_", "(double, double) -> double", Cost::Unit, subtract;
    "_-_", "(duration, duration) -> duration", Cost::Unit, subtract;
    "_-_", "(int, int) -> int", Cost::Unit, subtract;
    "_-_", "(timestamp, duration) -> timestamp", Cost::Unit, subtract;
    "_-_", "(timestamp, timestamp) -> duration", Cost::Unit, subtract;
    "_-_", "(uint, uint) -> uint", Cost::Unit, subtract;
    "_*_", "(double, double) -> double", Cost::Unit, multiply;
    "_*_", "(int, int) -> int", Cost::Unit, multiply;
    "_*_", "(uint, uint) -> uint", Cost::Unit, multiply;
    "_/_", "(double, double) -> double", Cost::Unit, divide;
    "_/_", "(int, int) -> int", Cost::Unit, divide;
    "_/_", "(uint, uint) -> uint", Cost::Unit, divide;
    "_%_", "(int, int) -> int", Cost::Unit, modulo;
    "_%_", "(uint, uint) -> uint", Cost::Unit, modulo;
    "_==_", "(A, A) -> bool", Cost::Compare, equals;
    "_!=_", "(A, A) -> bool", Cost::Compare, differs;
    "_<_", "(bool, bool) -> bool", Cost::Unit, less;
    "_<_", "(int, int) -> bool", Cost::Unit, less;
    "_<_", "(int, double) -> bool", Cost::Unit, less;
    "_<_", "(int, uint) -> bool", Cost::Unit, less;
    "_<_", "(uint, uint) -> bool", Cost::Unit, less;
    "_<_", "(uint, double) -> bool", Cost::Unit, less;
    "_<_", "(uint, int) -> bool", Cost::Unit, less;
    "_<_", "(double, double) -> bool", Cost::Unit, less;
    "_<_", "(double, int) -> bool", Cost::Unit, less;
    "_<_", "(double, uint) -> bool", Cost::Unit, less;
    "_<_", "(string, string) -> bool", Cost::Compare, less;
    "_<_", "(bytes, bytes) -> bool", Cost::Compare, less;
    "_<_", "(timestamp, timestamp) -> bool", Cost::Unit, less;
    "_<_", "(duration, duration) -> bool", Cost::Unit, less;
    "_<=_", "(bool, bool) -> bool", Cost::Unit, at_most;
    "_<=_", "(int, int) -> bool", Cost::Unit, at_most;
    "_<=_", "(int, double) -> bool", Cost::Unit, at_most;
    "_<=_", "(int, uint) -> bool", Cost::Unit, at_most;
    "_<=_", "(uint, uint) -> bool", Cost::Unit, at_most;
    "_<=_", "(uint, double) -> bool", Cost::Unit, at_most;
    "_<=_", "(uint, int) -> bool", Cost::Unit, at_most;
    "_<=_", "(double, double) -> bool", Cost::Unit, at_most;
    "_<=_", "(double, int) -> bool", Cost::Unit, at_most;
    "_<=_", "(double, uint) -> bool", Cost::Unit, at_most;
    "_<=_", "(string, string) -> bool", Cost::Compare, at_most;
    "_<=_", "(bytes, bytes) -> bool", Cost::Compare, at_most;
    "_<=_", "(timestamp, timestamp) -> bool", Cost::Unit, at_most;
    "_<=_", "(duration, duration) -> bool", Cost::Unit, at_most;
    "_>_", "(bool, bool) -> bool", Cost::Unit, greater;
    "_>_", "(int, int) -> bool", Cost::Unit, greater;
    "_>_", "(int, double) -> bool", Cost::Unit, greater;
    "_>_", "(int, uint) -> bool", Cost::Unit, greater;
    "_>_", "(uint, uint) -> bool", Cost::Unit, greater;
    "_>_", "(uint, double) -> bool", Cost::Unit, greater;
    "_>_", "(uint, int) -> bool", Cost::Unit, greater;
    "_>_", "(double, double) -> bool", Cost::Unit, greater;
    "_>_", "(double, int) -> bool", Cost::Unit, greater;
    "_>_", "(double, uint) -> bool", Cost::Unit, greater;
    "_>_", "(string, string) -> bool", Cost::Compare, greater;
    "_>_", "(bytes, bytes) -> bool", Cost::Compare, greater;
    "_>_", "(timestamp, timestamp) -> bool", Cost::Unit, greater;
    "_>_", "(duration, duration) -> bool", Cost::Unit, greater;
    "_>=_", "(bool, bool) -> bool", Cost::Unit, at_least;
    "_>=_", "(int, int) -> bool", Cost::Unit, at_least;
    "_>=_", "(int, double) -> bool", Cost::Unit, at_least;
    "_>=_", "(int, uint) -> bool", Cost::Unit, at_least;
    "_>=_", "(uint, uint) -> bool", Cost::Unit, at_least;
    "_>=_", "(uint, double) -> bool", Cost::Unit, at_least;
    "_>=_", "(uint, int) -> bool", Cost::Unit, at_least;
    "_>=_", "(double, double) -> bool", Cost::Unit, at_least;
    "_>=_", "(double, int) -> bool", Cost::Unit, at_least;
    "_>=_", "(double, uint) -> bool", Cost::Unit, at_least;
    "_>=_", "(string, string) -> bool", Cost::Compare, at_least;
    "_>=_", "(bytes, bytes) -> bool", Cost::Compare, at_least;
    "_>=_", "(timestamp, timestamp) -> bool", Cost::Unit, at_least;
    "_>=_", "(duration, duration) -> bool", Cost::Unit, at_least;
    "@in", "(A, list(A)) -> bool", Cost::InList, contained;
    "@in", "(A, map(A, B)) -> bool", Cost::Unit, contained;
    "size", "(bytes) -> int", Cost::Unit, size;
    "size", "(list(A)) -> int", Cost::Unit, size;
    "size", "(map(A, B)) -> int", Cost::Unit, size;
    "size", "(string) -> int", Cost::Unit, size;
    "size", "bytes.() -> int", Cost::Unit, size;
    "size", "list(A).() -> int", Cost::Unit, size;
    "size", "map(A, B).() -> int", Cost::Unit, size;
    "size", "string.() -> int", Cost::Unit, size;
    "dyn", "(A) -> dyn", Cost::Unit, same;
    "type", "(A) -> type(A)", Cost::Unit, type_of;
}

/// What plans have nodes of their own for, because not all arguments may be evaluated.
fn planned<'a>(_: &[Value<'a>]) -> Result<'a> {
    mismatch()
}

fn not<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Bool(value)]);
    Ok(Value::Bool(!value))
}

fn int<'a>(value: Option<i64>) -> Result<'a> {
    value.map_or_else(|| failed("integer overflow"), |v| Ok(Value::Int(v)))
}

fn uint<'a>(value: Option<u64>) -> Result<'a> {
    value.map_or_else(
        || failed("unsigned integer overflow"),
        |v| Ok(Value::Uint(v)),
    )
}

fn duration<'a>(nanos: Option<i64>) -> Result<'a> {
    nanos.map_or_else(|| failed("duration overflow"), |n| Ok(Value::Duration(n)))
}

fn moved<'a>(instant: Instant, nanos: i128) -> Result<'a> {
    match instant.checked_add(nanos) {
        Some(instant) => Ok(Value::Timestamp(instant)),
        None => failed("timestamp overflow"),
    }
}

fn negate<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Int(value)] => int(value.checked_neg()),
        [Value::Double(value)] => Ok(Value::Double(-value)),
        _ => mismatch(),
    }
}

fn add<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_add(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_add(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a + b)),
        [Value::String(a), Value::String(b)] => text([&**a, &**b].concat()),
        [Value::Bytes(a), Value::Bytes(b)] => {
            if a.len() + b.len() > super::MAX_TEXT {
                return Err(EvalError::CostLimitExceeded);
            }
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        [Value::List(a), Value::List(b)] => {
            if a.len() + b.len() > super::MAX_ITEMS {
                return Err(EvalError::CostLimitExceeded);
            }
            Ok(Value::List(a.concat(b)))
        }
        [Value::Duration(a), Value::Duration(b)] => duration(a.checked_add(*b)),
        [Value::Timestamp(instant), Value::Duration(nanos)]
        | [Value::Duration(nanos), Value::Timestamp(instant)] => {
            moved(*instant, i128::from(*nanos))
        }
        _ => mismatch(),
    }
}

fn subtract<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_sub(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_sub(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a - b)),
        [Value::Duration(a), Value::Duration(b)] => duration(a.checked_sub(*b)),
        [Value::Timestamp(instant), Value::Duration(nanos)] => moved(*instant, -i128::from(*nanos)),
        [Value::Timestamp(a), Value::Timestamp(b)] => i64::try_from(a.nanos_since(*b)).map_or_else(
            |_| failed("integer overflow"),
            |nanos| Ok(Value::Duration(nanos)),
        ),
        _ => mismatch(),
    }
}

fn multiply<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Int(a), Value::Int(b)] => int(a.checked_mul(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_mul(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a * b)),
        _ => mismatch(),
    }
}

fn divide<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            failed("division by zero")
        }
        [Value::Int(a), Value::Int(b)] => int(a.checked_div(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_div(*b)),
        [Value::Double(a), Value::Double(b)] => Ok(Value::Double(a / b)),
        _ => mismatch(),
    }
}

fn modulo<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => {
            failed("modulus by zero")
        }
        [Value::Int(a), Value::Int(b)] => int(a.checked_rem(*b)),
        [Value::Uint(a), Value::Uint(b)] => uint(a.checked_rem(*b)),
        _ => mismatch(),
    }
}

fn equals<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [a, b]);
    match bounded_equal(a, b) {
        Some(equal) => Ok(Value::Bool(equal)),
        None => Err(EvalError::CostLimitExceeded),
    }
}

fn differs<'a>(args: &[Value<'a>]) -> Result<'a> {
    match equals(args)? {
        Value::Bool(equal) => Ok(Value::Bool(!equal)),
        _ => mismatch(),
    }
}

/// Values that have no order at all are an error; NaN is neither less nor greater.
fn ordered<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Result<'a> {
    arguments!(args, [a, b]);
    match compare(a, b) {
        Some(Some(order)) => Ok(Value::Bool(holds(order))),
        Some(None) => failed("NaN values cannot be ordered"),
        None => mismatch(),
    }
}

fn less<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, Ordering::is_lt)
}

fn at_most<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, Ordering::is_le)
}

fn greater<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, Ordering::is_gt)
}

fn at_least<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, Ordering::is_ge)
}

fn contained<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [value, Value::List(list)] => Ok(Value::Bool(list.iter().any(|v| equal(&v, value)))),
        [_, Value::Map(Map::Composed)] => mismatch(),
        [key, Value::Map(map)] => Ok(Value::Bool(map.get(key).is_some())),
        _ => mismatch(),
    }
}

fn size<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_))] => {
            Ok(Value::Int(i64::try_from(value.size()).unwrap_or(i64::MAX)))
        }
        _ => mismatch(),
    }
}

fn same<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(value.clone())
}

fn type_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    Ok(Value::Type(value.type_of()))
}
