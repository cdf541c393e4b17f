//! Patterns: `matches`, `find`, `findAll`. RE2's syntax, without look-around, in linear time.

use regex::{Regex, RegexBuilder};

use super::{Result, arguments, failed, mismatch, rows};
use crate::{cost::Cost, error::EvalError, value::Value};

/// Largest compiled pattern, in bytes: repetitions of repetitions grow fast.
const MAX_COMPILED: usize = 1 << 20;

rows! {
    "matches", "(string, string) -> bool", Cost::Matches, matches;
    "matches", "string.(string) -> bool", Cost::Matches, matches;
    "find", "string.(string) -> string", Cost::Find, find;
    "findAll", "string.(string) -> list(string)", Cost::Find, find_all;
    "findAll", "string.(string, int) -> list(string)", Cost::Find, find_all;
}

/// Compiles a pattern.
pub(crate) fn compile(pattern: &str) -> std::result::Result<Regex, EvalError> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .nest_limit(100)
        .build()
        .map_err(|error| EvalError::failed(format!("error parsing regexp: {error}")))
}

fn matches<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text), Value::String(pattern)]);
    Ok(Value::Bool(compile(pattern)?.is_match(text)))
}

fn find<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text), Value::String(pattern)]);
    let Ok(pattern) = compile(pattern) else {
        return failed(format!("Illegal regex: {}", &**pattern));
    };
    let found = pattern.find(text).map_or("", |found| found.as_str());
    Ok(Value::from(found.to_owned()))
}

fn find_all<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (text, pattern, limit) = match args {
        [Value::String(text), Value::String(pattern)] => (text, pattern, -1),
        [
            Value::String(text),
            Value::String(pattern),
            Value::Int(limit),
        ] => (text, pattern, *limit),
        _ => return mismatch(),
    };
    let Ok(pattern) = compile(pattern) else {
        return failed(format!("Illegal regex: {}", &**pattern));
    };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Value::list(
        pattern
            .find_iter(text)
            .take(limit)
            .map(|found| Value::from(found.as_str().to_owned()))
            .collect(),
    ))
}
