//! `'%s is %d'.format(['a', 1])`: the clauses of cel-go's formatter.

use std::fmt::Write as _;

use apimachinery::quote;

use crate::{
    error::EvalError,
    library::{MAX_TEXT, Result, arguments, conversions::show_double, failed, text, times},
    value::{Map, Value},
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
        let Some(value) = values.get(at) else {
            return failed(format!("index {at} out of range"));
        };
        at += 1;
        if rest.is_empty() {
            return failed("unexpected end of string");
        }
        let (precision, verb, after) = match clause(rest) {
            Ok(parsed) => parsed,
            Err(message) => {
                return failed(format!("could not parse formatting clause: {message}"));
            }
        };
        rest = after;
        if let Err(message) = interpolate(&mut out, verb, precision, &value) {
            return failed(format!("error during formatting: {message}"));
        }
        if out.len() > MAX_TEXT {
            return Err(EvalError::CostLimitExceeded);
        }
    }
    out.push_str(rest);
    text(out)
}

type Clause<'t> = (Option<usize>, char, &'t str);

/// `.2f` of what follows a percent sign: precision, verb, and what follows them.
pub(crate) fn clause(text: &str) -> std::result::Result<Clause<'_>, String> {
    let (precision, after) =
        precision(text).map_err(|message| format!("error while parsing precision: {message}"))?;
    match after.chars().next() {
        Some(verb) if "sdfebxXo".contains(verb) => Ok((precision, verb, &after[1..])),
        // Upstream looks at bytes.
        _ => {
            let verb = char::from(after.bytes().next().unwrap_or_default());
            Err(format!("unrecognized formatting clause \"{verb}\""))
        }
    }
}

fn precision(text: &str) -> std::result::Result<(Option<usize>, &str), String> {
    let Some(after) = text.strip_prefix('.') else {
        return Ok((None, text));
    };
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = after.split_at(digits);
    if rest.is_empty() {
        return Err("could not find end of precision specifier".to_owned());
    }
    match number.parse::<i64>() {
        Ok(number) => match usize::try_from(number) {
            Ok(number) if number <= MAX_PRECISION => Ok((Some(number), rest)),
            _ => Err(format!(
                "precision {number} exceeds the maximum {MAX_PRECISION}"
            )),
        },
        Err(_) => {
            let why = match number {
                "" => "invalid syntax",
                _ => "value out of range",
            };
            Err(format!(
                "error while converting precision to integer: strconv.Atoi: parsing {number:?}: {why}"
            ))
        }
    }
}

fn interpolate(
    out: &mut String,
    verb: char,
    precision: Option<usize>,
    value: &Value<'_>,
) -> std::result::Result<(), String> {
    // Writing to a string cannot fail.
    let _ = match (verb, value) {
        ('s', _) => return show(out, value, 0),
        ('d', Value::Int(number)) => write!(out, "{number}"),
        ('d', Value::Uint(number)) => write!(out, "{number}"),
        ('f' | 'e', _) => {
            let number = match value {
                Value::Double(number) => *number,
                Value::String(text) if &**text == "NaN" => f64::NAN,
                Value::String(text) if &**text == "Infinity" => f64::INFINITY,
                Value::String(text) if &**text == "-Infinity" => f64::NEG_INFINITY,
                _ => return Err(refused(verb, value)),
            };
            if number.is_nan() {
                out.push_str("NaN");
            } else if number.is_infinite() {
                out.push_str(if number > 0.0 { "∞" } else { "-∞" });
            } else if verb == 'f' {
                out.push_str(&grouped(&format!("{number:.*}", precision.unwrap_or(6))));
            } else {
                // Upstream gives the precision for the width, which pads with spaces.
                let width = precision.unwrap_or(6);
                write!(out, "{:>width$}", scientific(number)).unwrap_or_default();
            }
            Ok(())
        }
        ('b', Value::Int(number)) if *number < 0 => write!(out, "-{:b}", number.unsigned_abs()),
        ('b', Value::Int(number)) => write!(out, "{number:b}"),
        ('b', Value::Uint(number)) => write!(out, "{number:b}"),
        ('b', Value::Bool(value)) => write!(out, "{}", i32::from(*value)),
        ('o', Value::Int(number)) if *number < 0 => write!(out, "-{:o}", number.unsigned_abs()),
        ('o', Value::Int(number)) => write!(out, "{number:o}"),
        ('o', Value::Uint(number)) => write!(out, "{number:o}"),
        ('x' | 'X', _) => {
            let hex = hexadecimal(value).ok_or_else(|| refused(verb, value))?;
            out.push_str(&if verb == 'X' { hex.to_uppercase() } else { hex });
            Ok(())
        }
        _ => return Err(refused(verb, value)),
    };
    Ok(())
}

fn refused(verb: char, value: &Value<'_>) -> String {
    format!("{}, was given {}", rule(verb), value.type_of().name())
}

/// What a clause prints.
pub(crate) fn rule(verb: char) -> &'static str {
    match verb {
        's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
        }
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        _ => "only integers, byte buffers, and strings can be formatted as hex",
    }
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

/// `-1,234.500`: as English groups digits.
fn grouped(number: &str) -> String {
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", number),
    };
    let whole = number.find('.').unwrap_or(number.len());
    let mut out = sign.to_owned();
    for (at, digit) in number.char_indices() {
        if at > 0 && at < whole && (whole - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1.500000×10⁰³`, as English writes it.
fn scientific(number: f64) -> String {
    let shown = format!("{number:.6e}");
    let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if exponent < 0 { "⁻" } else { "" };
    let digits: String = format!("{:02}", exponent.abs())
        .bytes()
        .filter_map(|digit| "⁰¹²³⁴⁵⁶⁷⁸⁹".chars().nth(usize::from(digit - b'0')))
        .collect();
    format!("{mantissa}×10{sign}{digits}")
}

/// As `%s` prints: of lists and maps, what is within as the language writes it.
fn show(out: &mut String, value: &Value<'_>, depth: usize) -> std::result::Result<(), String> {
    if depth > MAX_DEPTH || out.len() > MAX_TEXT {
        return Err("value is too large".to_owned());
    }
    let within = depth > 0;
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::Uint(number) => out.push_str(&number.to_string()),
        Value::Double(number) if !within => out.push_str(&show_double(*number)),
        Value::Double(number) if number.is_finite() => {
            let _ = write!(out, "{number:.6}");
        }
        Value::Double(number) => out.push_str(&quote(&show_double(*number))),
        Value::String(text) if within => out.push_str(&quote(text)),
        Value::String(text) => out.push_str(text),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) if within => {
                out.push('b');
                out.push_str(&quote(text));
            }
            Ok(text) => out.push_str(text),
            Err(_) => {
                return Err("could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string".to_owned());
            }
        },
        Value::Duration(nanos) => literal(out, within, "duration", &times::show_duration(*nanos)),
        Value::Timestamp(instant) => literal(out, within, "timestamp", &instant.to_string()),
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
        Value::Map(map) => show_map(out, map, depth)?,
        Value::Optional(_) | Value::Opaque(_) if within => {
            return Err(format!(
                "no formatting function for {}",
                value.type_of().name()
            ));
        }
        Value::Optional(_) | Value::Opaque(_) => return Err(refused('s', value)),
    }
    Ok(())
}

fn literal(out: &mut String, within: bool, function: &str, text: &str) {
    let _ = match within {
        true => write!(out, "{function}({})", quote(text)),
        false => write!(out, "{text}"),
    };
}

/// `{"a":1, "b":2}`, in order of the keys as they are shown.
fn show_map(out: &mut String, map: &Map<'_>, depth: usize) -> std::result::Result<(), String> {
    let mut entries = Vec::new();
    for (key, value) in map.entries() {
        if !matches!(
            key,
            Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)
        ) {
            return Err(format!(
                "no formatting function for map key of type {}",
                key.type_of().name()
            ));
        }
        let (mut shown_key, mut shown_value) = (String::new(), String::new());
        show(&mut shown_key, &key, depth + 1)?;
        show(&mut shown_value, &value, depth + 1)?;
        entries.push((shown_key, shown_value));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    out.push('{');
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 {
            out.push_str(", ");
        }
        let _ = write!(out, "{key}:{value}");
    }
    out.push('}');
    Ok(())
}
