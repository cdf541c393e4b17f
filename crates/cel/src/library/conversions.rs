//! Conversions between types: `int('3')`, `string(1.5)`, `bytes('a')`.

use std::sync::Arc;

use apimachinery::go;

use super::{Result, arguments, failed, rows, times};
use crate::{
    cost::Cost,
    value::{Instant, Value},
};

rows! {
    "bool", "(bool) -> bool", Cost::Unit, bool;
    "bool", "(string) -> bool", Cost::Unit, bool;
    "bytes", "(bytes) -> bytes", Cost::Unit, bytes;
    "bytes", "(string) -> bytes", Cost::ToBytes, bytes;
    "double", "(double) -> double", Cost::Unit, double;
    "double", "(int) -> double", Cost::Unit, double;
    "double", "(string) -> double", Cost::Unit, double;
    "double", "(uint) -> double", Cost::Unit, double;
    "duration", "(duration) -> duration", Cost::Unit, duration;
    "duration", "(int) -> duration", Cost::Unit, duration;
    "duration", "(string) -> duration", Cost::Unit, duration;
    "int", "(int) -> int", Cost::Unit, int;
    "int", "(double) -> int", Cost::Unit, int;
    "int", "(duration) -> int", Cost::Unit, int;
    "int", "(string) -> int", Cost::Unit, int;
    "int", "(timestamp) -> int", Cost::Unit, int;
    "int", "(uint) -> int", Cost::Unit, int;
    "string", "(string) -> string", Cost::Unit, string;
    "string", "(bool) -> string", Cost::Unit, string;
    "string", "(bytes) -> string", Cost::ToText, string;
    "string", "(double) -> string", Cost::Unit, string;
    "string", "(duration) -> string", Cost::Unit, string;
    "string", "(int) -> string", Cost::Unit, string;
    "string", "(timestamp) -> string", Cost::Unit, string;
    "string", "(uint) -> string", Cost::Unit, string;
    "timestamp", "(timestamp) -> timestamp", Cost::Unit, timestamp;
    "timestamp", "(int) -> timestamp", Cost::Unit, timestamp;
    "timestamp", "(string) -> timestamp", Cost::Unit, timestamp;
    "uint", "(uint) -> uint", Cost::Unit, uint;
    "uint", "(double) -> uint", Cost::Unit, uint;
    "uint", "(int) -> uint", Cost::Unit, uint;
    "uint", "(string) -> uint", Cost::Unit, uint;
}

fn unconvertible<'a>(value: &Value<'a>, to: &str) -> Result<'a> {
    failed(format!(
        "type conversion error from '{}' to '{to}'",
        value.type_of().name()
    ))
}

fn bool<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::Bool(_) => Ok(value.clone()),
        Value::String(text) => match go::parse_bool(text) {
            Some(said) => Ok(Value::Bool(said)),
            None => unconvertible(value, "bool"),
        },
        _ => unconvertible(value, "bool"),
    }
}

fn bytes<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(Arc::from(text.as_bytes()))),
        _ => unconvertible(value, "bytes"),
    }
}

fn double<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::Double(_) => Ok(value.clone()),
        Value::Int(number) => Ok(Value::Double(*number as f64)),
        Value::Uint(number) => Ok(Value::Double(*number as f64)),
        Value::String(text) => match text.parse::<f64>() {
            // What overflows is no number; infinity may be called by its name.
            Ok(number) if number.is_infinite() && text.contains(|c: char| c.is_ascii_digit()) => {
                unconvertible(value, "double")
            }
            Ok(number) => Ok(Value::Double(number)),
            Err(_) => unconvertible(value, "double"),
        },
        _ => unconvertible(value, "double"),
    }
}

fn int<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::Int(_) => Ok(value.clone()),
        Value::Uint(number) => match i64::try_from(*number) {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => failed("integer overflow"),
        },
        // The bounds themselves are excluded: as doubles they stand for neighbours beyond them too.
        Value::Double(number) if *number > i64::MIN as f64 && *number < i64::MAX as f64 => {
            Ok(Value::Int(*number as i64))
        }
        Value::Double(_) => failed("integer overflow"),
        Value::String(text) => match text.parse() {
            Ok(number) => Ok(Value::Int(number)),
            Err(_) => unconvertible(value, "int"),
        },
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        Value::Timestamp(instant) => Ok(Value::Int(instant.second())),
        _ => unconvertible(value, "int"),
    }
}

fn uint<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::Uint(_) => Ok(value.clone()),
        Value::Int(number) => match u64::try_from(*number) {
            Ok(number) => Ok(Value::Uint(number)),
            Err(_) => failed("unsigned integer overflow"),
        },
        Value::Double(number) if *number >= 0.0 && *number < u64::MAX as f64 => {
            Ok(Value::Uint(*number as u64))
        }
        Value::Double(_) => failed("unsigned integer overflow"),
        Value::String(text) => match text.parse() {
            Ok(number) => Ok(Value::Uint(number)),
            Err(_) => unconvertible(value, "uint"),
        },
        _ => unconvertible(value, "uint"),
    }
}

fn string<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::String(_) => Ok(value.clone()),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::from(text.to_owned())),
            Err(_) => failed("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Value::Bool(value) => Ok(Value::from(value.to_string())),
        Value::Int(number) => Ok(Value::from(number.to_string())),
        Value::Uint(number) => Ok(Value::from(number.to_string())),
        Value::Double(number) => Ok(Value::from(show_double(*number))),
        Value::Duration(nanos) => Ok(Value::from(times::show_duration(*nanos))),
        Value::Timestamp(instant) => Ok(Value::from(instant.to_string())),
        _ => unconvertible(value, "string"),
    }
}

/// As Go's `%g` prints: the shortest digits, with an exponent where the number is very large or small.
pub(crate) fn show_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) || number == 0.0 {
        return number.to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

fn duration<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::Int(nanos) => Ok(Value::Duration(*nanos)),
        Value::String(text) => match times::parse_duration(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => unconvertible(value, "google.protobuf.Duration"),
        },
        _ => unconvertible(value, "google.protobuf.Duration"),
    }
}

fn timestamp<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [value]);
    match value {
        Value::Timestamp(_) => Ok(value.clone()),
        Value::Int(seconds) => match Instant::from_second(*seconds) {
            Some(instant) => Ok(Value::Timestamp(instant)),
            None => failed("timestamp overflow"),
        },
        Value::String(text) => match Instant::parse(text) {
            Some(instant) => Ok(Value::Timestamp(instant)),
            None => unconvertible(value, "google.protobuf.Timestamp"),
        },
        _ => unconvertible(value, "google.protobuf.Timestamp"),
    }
}
