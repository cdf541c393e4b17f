//! What loops over maps (`transformMap`) add to their result.

use std::sync::Arc;

use super::{Result, arguments, failed, mismatch, rows};
use crate::{
    cost::Cost,
    value::{Key, Map, Value},
};

rows! {
    "cel.@mapInsert", "(map(A, B), A, B) -> map(A, B)", Cost::Unit, insert;
    "cel.@mapInsert", "(map(A, B), map(A, B)) -> map(A, B)", Cost::Unit, insert_all;
}

fn insert<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Map(map), key, value]);
    add(map, [(key.clone(), value.clone())])
}

fn insert_all<'a>(args: &[Value<'a>]) -> Result<'a> {
    arguments!(args, [Value::Map(map), Value::Map(more)]);
    add(map, more.entries())
}

fn add<'a>(map: &Map<'a>, more: impl IntoIterator<Item = (Value<'a>, Value<'a>)>) -> Result<'a> {
    let mut entries = match map {
        Map::Shared(entries) => (**entries).clone(),
        _ => return mismatch(),
    };
    for (key, value) in more {
        let Some(found) = Key::of(&key) else {
            return failed("unsupported key type");
        };
        if entries.contains_key(&found) {
            let shown = match &key {
                Value::String(text) => text.to_string(),
                Value::Int(number) => number.to_string(),
                other => format!("{other:?}"),
            };
            return failed(format!("insert failed: key {shown} already exists"));
        }
        entries.insert(found, (key, value));
    }
    Ok(Value::Map(Map::Shared(Arc::new(entries))))
}
