//! What the language itself knows of texts.

use super::{Result, arguments, rows};
use crate::{cost::Cost, value::Value};

rows! {
    "contains", "string.(string) -> bool", Cost::Contains, contains;
    "endsWith", "string.(string) -> bool", Cost::Affix, ends_with;
    "startsWith", "string.(string) -> bool", Cost::Affix, starts_with;
}

fn contains<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text), Value::String(sought)]);
    Ok(Value::Bool(text.contains(&**sought)))
}

fn ends_with<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text), Value::String(suffix)]);
    Ok(Value::Bool(text.ends_with(&**suffix)))
}

fn starts_with<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::String(text), Value::String(prefix)]);
    Ok(Value::Bool(text.starts_with(&**prefix)))
}
