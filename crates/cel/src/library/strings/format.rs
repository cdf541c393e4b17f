//! `'%s is %d'.format(['a', 1])`: the clauses of cel-go's formatter.

use std::fmt::Write as _;

use crate::{
    error::EvalError,
    library::{MAX_TEXT, Result, arguments, failed, text, times},
    value::Value,
};

/// Deepest list or map that prints.
const MAX_DEPTH: usize = 64;
/// Most digits after the point.
const MAX_PRECISION: usize = 1000;

pub(super) fn format<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(pattern), Value::List(values)]);
    let mut out = String::new();
    let mut rest: &str = pattern;
    let mut at = 0;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            out.push('%');
            rest = after;
            continue;
        }
        let (precision, after) = match precision(rest) {
            Ok(parsed) => parsed,
            Err(message) => return failed(message),
        };
        let Some(verb) = after.chars().next() else {
            return failed("unexpected end of format string");
        };
        rest = &after[verb.len_utf8()..];
        let Some(value) = values.get(at) else {
            return failed(format!("index {at} out of range"));
        };
        at += 1;
        if let Err(message) = clause(&mut out, verb, precision, &value) {
            return failed(format!("error during formatting: {message}"));
        }
        if out.len() > MAX_TEXT {
            return Err(EvalError::CostLimitExceeded);
        }
    }
    if at < values.len() {
        return failed(format!(
            "too many arguments supplied to string.format (expected {at}, got {})",
            values.len()
        ));
    }
    out.push_str(rest);
    text(out)
}

/// `.2` before a verb.
pub(crate) fn precision(text: &str) -> std::result::Result<(Option<usize>, &str), String> {
    let Some(after) = text.strip_prefix('.') else {
        return Ok((None, text));
    };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = after.split_at(digits);
    match number.parse::<usize>() {
        Ok(number) if number <= MAX_PRECISION => Ok((Some(number), rest)),
        Ok(number) => Err(format!(
            "precision {number} exceeds the maximum {MAX_PRECISION}"
        )),
        Err(_) => Err(format!(
            "error while converting precision to integer: strconv.Atoi: parsing {number:?}: invalid syntax"
        )),
    }
}

fn clause(
    out: &mut String,
    verb: char,
    precision: Option<usize>,
    value: &Value<'_>,
) -> std::result::Result<(), String> {
    let name = value.type_of().name().to_owned();
    // Writing to a string cannot fail.
    let _ = match (verb, value) {
        ('s', _) => return show(out, value, 0),
        ('d', Value::Int(number)) => write!(out, "{number}"),
        ('d', Value::Uint(number)) => write!(out, "{number}"),
        ('d', Value::Double(number)) if !number.is_finite() => write!(out, "{}", double(*number)),
        ('d', _) => {
            return Err(format!(
                "decimal clause can only be used on integers, was given {name}"
            ));
        }
        ('f' | 'e', _) => {
            let number = match value {
                Value::Double(number) => *number,
                Value::Int(number) => *number as f64,
                Value::Uint(number) => *number as f64,
                _ => {
                    let kind = if verb == 'f' {
                        "fixed-point"
                    } else {
                        "scientific"
                    };
                    return Err(format!(
                        "{kind} clause can only be used on doubles, was given {name}"
                    ));
                }
            };
            let digits = precision.unwrap_or(6);
            if !number.is_finite() {
                write!(out, "{}", double(number))
            } else if verb == 'f' {
                write!(out, "{number:.digits$}")
            } else {
                write!(out, "{}", scientific(number, digits))
            }
        }
        ('b', Value::Int(number)) if *number < 0 => write!(out, "-{:b}", number.unsigned_abs()),
        ('b', Value::Int(number)) => write!(out, "{number:b}"),
        ('b', Value::Uint(number)) => write!(out, "{number:b}"),
        ('b', Value::Bool(value)) => write!(out, "{}", i32::from(*value)),
        ('b', _) => {
            return Err(format!(
                "binary clause can only be used on integers and bools, was given {name}"
            ));
        }
        ('o', Value::Int(number)) if *number < 0 => write!(out, "-{:o}", number.unsigned_abs()),
        ('o', Value::Int(number)) => write!(out, "{number:o}"),
        ('o', Value::Uint(number)) => write!(out, "{number:o}"),
        ('o', _) => {
            return Err(format!(
                "octal clause can only be used on integers, was given {name}"
            ));
        }
        ('x' | 'X', _) => {
            let hex = hexadecimal(value).ok_or_else(|| {
                format!(
                    "hex clause can only be used on integers, byte buffers, and strings, was given {name}"
                )
            })?;
            out.push_str(&if verb == 'X' { hex.to_uppercase() } else { hex });
            Ok(())
        }
        _ => return Err(format!("unrecognized formatting clause \"{verb}\"")),
    };
    Ok(())
}

fn hexadecimal(value: &Value<'_>) -> Option<String> {
    let bytes = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    };
    Some(match value {
        Value::Int(number) if *number < 0 => format!("-{:x}", number.unsigned_abs()),
        Value::Int(number) => format!("{number:x}"),
        Value::Uint(number) => format!("{number:x}"),
        Value::String(text) => bytes(text.as_bytes()),
        Value::Bytes(inside) => bytes(inside),
        _ => return None,
    })
}

fn double(number: f64) -> &'static str {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

/// `1.500000e+00`.
fn scientific(number: f64, digits: usize) -> String {
    let shown = format!("{number:.digits$e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// As `%s` prints.
fn show(out: &mut String, value: &Value<'_>, depth: usize) -> std::result::Result<(), String> {
    if depth > MAX_DEPTH || out.len() > MAX_TEXT {
        return Err("value is too large".to_owned());
    }
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Uint(number) => out.push_str(&number.to_string()),
        Value::Double(number) if number.is_finite() => out.push_str(&number.to_string()),
        Value::Double(number) => out.push_str(double(*number)),
        Value::String(text) => out.push_str(text),
        Value::Bytes(bytes) => out.push_str(&String::from_utf8_lossy(bytes)),
        Value::Duration(nanos) => out.push_str(&times::show_duration(*nanos)),
        Value::Timestamp(instant) => out.push_str(&instant.to_string()),
        Value::Type(ty) => out.push_str(ty.name()),
        Value::List(list) => {
            out.push('[');
            for (at, item) in list.iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                show(out, &item, depth + 1)?;
            }
            out.push(']');
        }
        Value::Map(map) => {
            out.push('{');
            for (at, (key, value)) in map.entries().iter().enumerate() {
                if at > 0 {
                    out.push_str(", ");
                }
                show(out, key, depth + 1)?;
                out.push_str(": ");
                show(out, value, depth + 1)?;
            }
            out.push('}');
        }
        Value::Optional(_) | Value::Opaque(_) => {
            return Err(format!(
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps, was given {}",
                value.type_of().name()
            ));
        }
    }
    Ok(())
}
