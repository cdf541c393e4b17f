//! Reading fields of an object by path. A field that is absent, null or of another type reads as empty: what comes here has
//! passed decoding by schema, or is someone's stored object about which no more is needed than what can be read.

use serde_json::Value;

use crate::Object;

/// The value at `path`, unless it is absent or null.
pub fn value<'a>(object: &'a Object, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let mut found = object.get(*first)?;
    for name in rest {
        found = found.get(*name)?;
    }
    (!found.is_null()).then_some(found)
}

/// The string at `path`, or "".
pub fn text<'a>(object: &'a Object, path: &[&str]) -> &'a str {
    value(object, path)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The list at `path`, or an empty one.
pub fn list<'a>(object: &'a Object, path: &[&str]) -> &'a [Value] {
    value(object, path)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// The objects in the list at `path`.
pub fn objects<'a>(
    object: &'a Object,
    path: &[&str],
) -> impl Iterator<Item = &'a Object> + use<'a> {
    list(object, path).iter().filter_map(Value::as_object)
}

/// The strings in the list at `path`.
pub fn strings(object: &Object, path: &[&str]) -> Vec<String> {
    list(object, path)
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// The map at `path`.
pub fn map<'a>(object: &'a Object, path: &[&str]) -> Option<&'a Object> {
    value(object, path).and_then(Value::as_object)
}

/// The boolean at `path`, if there is one.
pub fn flag(object: &Object, path: &[&str]) -> Option<bool> {
    value(object, path).and_then(Value::as_bool)
}

/// The integer at `path`, if there is one.
pub fn number(object: &Object, path: &[&str]) -> Option<i64> {
    value(object, path).and_then(Value::as_i64)
}

/// The map at `path`, made if it is not there; a value of another type on the way is replaced.
pub fn map_mut<'a>(object: &'a mut Object, path: &[&str]) -> &'a mut Object {
    let mut here = object;
    for name in path {
        let entry = here.entry((*name).to_owned()).or_insert(Value::Null);
        if !entry.is_object() {
            *entry = Value::Object(Object::new());
        }
        here = entry.as_object_mut().expect("made an object above");
    }
    here
}

/// The list `name` of the map at `path`, made if it is not there.
pub fn list_mut<'a>(object: &'a mut Object, path: &[&str], name: &str) -> &'a mut Vec<Value> {
    let entry = map_mut(object, path)
        .entry(name.to_owned())
        .or_insert(Value::Null);
    if !entry.is_array() {
        *entry = Value::Array(Vec::new());
    }
    entry.as_array_mut().expect("made an array above")
}

/// Sets the field at `path`, making the maps on the way.
pub fn set(object: &mut Object, path: &[&str], value: impl Into<Value>) {
    if let Some((last, way)) = path.split_last() {
        map_mut(object, way).insert((*last).to_owned(), value.into());
    }
}
