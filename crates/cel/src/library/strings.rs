//! cel-go's extension for texts, version 2: positions count code points.

pub(crate) mod format;

use super::{Result, arguments, failed, mismatch, rows, text};
use crate::{
    cost::Cost,
    error::EvalError,
    value::{Text, Value},
};

rows! {
    "charAt", "string.(int) -> string", Cost::Unit, char_at;
    "indexOf", "string.(string) -> int", Cost::Items, index_of;
    "indexOf", "string.(string, int) -> int", Cost::Items, index_of;
    "join", "list(string).() -> string", Cost::Join, join;
    "join", "list(string).(string) -> string", Cost::Join, join;
    "lastIndexOf", "string.(string) -> int", Cost::Items, last_index_of;
    "lastIndexOf", "string.(string, int) -> int", Cost::Items, last_index_of;
    "lowerAscii", "string.() -> string", Cost::ScanKeep, lower_ascii;
    "replace", "string.(string, string) -> string", Cost::Replace, replace;
    "replace", "string.(string, string, int) -> string", Cost::Replace, replace;
    "split", "string.(string) -> list(string)", Cost::Split, split;
    "split", "string.(string, int) -> list(string)", Cost::Split, split;
    "substring", "string.(int) -> string", Cost::ScanKeep, substring;
    "substring", "string.(int, int) -> string", Cost::ScanKeep, substring;
    "trim", "string.() -> string", Cost::ScanKeep, trim;
    "upperAscii", "string.() -> string", Cost::ScanKeep, upper_ascii;
    "format", "string.(list(dyn)) -> string", Cost::Format, format::format;
    "strings.quote", "(string) -> string", Cost::Quote, quote;
}

fn count(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}

/// The byte at which a code point begins; the end is a position too.
fn offset(text: &str, position: usize) -> Option<usize> {
    if text.is_ascii() {
        return (position <= text.len()).then_some(position);
    }
    text.char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(position)
}

fn char_at<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(inside), Value::Int(at)]);
    let Some(start) = usize::try_from(*at).ok().and_then(|at| offset(inside, at)) else {
        return failed(format!("index out of range: {at}"));
    };
    let found = inside[start..].chars().next();
    text(found.map(String::from).unwrap_or_default())
}

fn index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (inside, sought, from) = match args {
        [Value::String(inside), Value::String(sought)] => (inside, sought, 0),
        [
            Value::String(inside),
            Value::String(sought),
            Value::Int(from),
        ] => (inside, sought, *from),
        _ => return mismatch(),
    };
    let Ok(from_position) = usize::try_from(from) else {
        return failed(format!("index out of range: {from}"));
    };
    if sought.is_empty() {
        return clamped(inside, from);
    }
    let Some(start) = offset(inside, from_position) else {
        return Ok(Value::Int(-1));
    };
    position(inside, inside[start..].find(&**sought).map(|at| start + at))
}

fn last_index_of<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (inside, sought, from) = match args {
        [Value::String(inside), Value::String(sought)] => (inside, sought, None),
        [
            Value::String(inside),
            Value::String(sought),
            Value::Int(from),
        ] => (inside, sought, Some(*from)),
        _ => return mismatch(),
    };
    let Some(from) = from else {
        if sought.is_empty() {
            return clamped(inside, i64::MAX);
        }
        return position(inside, inside.rfind(&**sought));
    };
    let Ok(at) = usize::try_from(from) else {
        return failed(format!("index out of range: {from}"));
    };
    if sought.is_empty() {
        return clamped(inside, from);
    }
    let Some(start) = offset(inside, at).filter(|start| *start < inside.len()) else {
        return Ok(Value::Int(-1));
    };
    // A find may begin at the position and reach beyond it.
    let mut end = start.saturating_add(sought.len()).min(inside.len());
    while !inside.is_char_boundary(end) {
        end -= 1;
    }
    position(inside, inside[..end].rfind(&**sought))
}

/// Where nothing at all is found: at the position, or at the end if that is before.
fn clamped<'a>(inside: &str, position: i64) -> Result<'a> {
    let length = i64::try_from(count(inside)).unwrap_or(i64::MAX);
    Ok(Value::Int(position.min(length)))
}

fn position<'a>(inside: &str, byte: Option<usize>) -> Result<'a> {
    Ok(Value::Int(byte.map_or(-1, |byte| {
        i64::try_from(count(&inside[..byte])).unwrap_or(i64::MAX)
    })))
}

fn join<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (list, separator) = match args {
        [Value::List(list)] => (list, ""),
        [Value::List(list), Value::String(separator)] => (list, &**separator),
        _ => return mismatch(),
    };
    let mut joined = String::new();
    for (at, item) in list.iter().enumerate() {
        let Value::String(item) = item else {
            return failed("no such overload");
        };
        if joined.len() + item.len() > super::MAX_TEXT {
            return Err(EvalError::CostLimitExceeded);
        }
        if at > 0 {
            joined.push_str(separator);
        }
        joined.push_str(&item);
    }
    text(joined)
}

fn lower_ascii<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(inside)]);
    text(inside.to_ascii_lowercase())
}

fn upper_ascii<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(inside)]);
    text(inside.to_ascii_uppercase())
}

fn replace<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (inside, old, new, times) = match args {
        [
            Value::String(inside),
            Value::String(old),
            Value::String(new),
        ] => (inside, old, new, -1),
        [
            Value::String(inside),
            Value::String(old),
            Value::String(new),
            Value::Int(times),
        ] => (inside, old, new, *times),
        _ => return mismatch(),
    };
    // A negative number means all.
    let times = usize::try_from(times).unwrap_or(usize::MAX);
    let found = inside.matches(&**old).take(times).count();
    if found.saturating_mul(new.len()).saturating_add(inside.len()) > super::MAX_TEXT {
        return Err(EvalError::CostLimitExceeded);
    }
    text(inside.replacen(&**old, new, times))
}

fn split<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (inside, separator, limit) = match args {
        [Value::String(inside), Value::String(separator)] => (inside, separator, -1),
        [
            Value::String(inside),
            Value::String(separator),
            Value::Int(limit),
        ] => (inside, separator, *limit),
        _ => return mismatch(),
    };
    let limit = match limit {
        0 => return Ok(Value::list(Vec::new())),
        limit => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    let parts: Vec<&str> = if separator.is_empty() {
        characters(inside, limit)
    } else {
        inside.splitn(limit, &**separator).collect()
    };
    Ok(Value::list(
        parts.into_iter().map(|part| piece(inside, part)).collect(),
    ))
}

/// Each character; the last part takes the rest.
fn characters(inside: &str, limit: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = inside;
    while let Some(first) = rest.chars().next() {
        if parts.len() + 1 == limit {
            parts.push(rest);
            break;
        }
        let (head, tail) = rest.split_at(first.len_utf8());
        parts.push(head);
        rest = tail;
    }
    parts
}

/// A part of a text: borrowed if the whole is.
fn piece<'a>(whole: &Text<'a>, part: &str) -> Value<'a> {
    if let Text::Borrowed(text) = whole {
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        if let Some(part) = text.get(start..start + part.len()) {
            return Value::from(part);
        }
    }
    Value::from(part.to_owned())
}

fn substring<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (inside, start, end) = match args {
        [Value::String(inside), Value::Int(start)] => (inside, *start, None),
        [Value::String(inside), Value::Int(start), Value::Int(end)] => (inside, *start, Some(*end)),
        _ => return mismatch(),
    };
    if let Some(end) = end
        && start > end
    {
        return failed(format!(
            "invalid substring range. start: {start}, end: {end}"
        ));
    }
    let locate = |position: i64| {
        usize::try_from(position)
            .ok()
            .and_then(|position| offset(inside, position))
    };
    let Some(from) = locate(start) else {
        return failed(format!("index out of range: {start}"));
    };
    let to = match end {
        None => inside.len(),
        Some(end) => match locate(end) {
            Some(to) => to,
            None => return failed(format!("index out of range: {end}")),
        },
    };
    Ok(piece(inside, &inside[from..to]))
}

fn trim<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(inside)]);
    Ok(piece(inside, inside.trim()))
}

fn quote<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(inside)]);
    let mut quoted = String::with_capacity(inside.len() + 2);
    quoted.push('"');
    for c in inside.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            _ => quoted.push(c),
        }
    }
    quoted.push('"');
    text(quoted)
}
