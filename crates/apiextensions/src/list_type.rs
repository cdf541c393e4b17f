//! `x-kubernetes-list-type`: the items of a `set` are unique, those of a `map` by their keys.
//!
//! Each repeated item is named once, at its second appearance. On update the whole object is excused if it already broke the rule.

use std::collections::HashMap;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::{Value, json};

use crate::schema::{ListType, Structural};

/// All complaints about lists whose items are not unique.
pub fn validate(object: &Object, schema: &Structural) -> ErrorList {
    let mut errors = ErrorList::new();
    fields(object, &Path::default(), schema, &mut errors);
    errors
}

fn fields(object: &Object, path: &Path, schema: &Structural, errors: &mut ErrorList) {
    if !schema.contains.keyed_lists {
        return;
    }
    if let Some(additional) = schema
        .additional
        .schema()
        .filter(|s| s.contains.keyed_lists)
    {
        for (name, inner) in object {
            value(inner, &path.key(name), additional, errors);
        }
    }
    for (name, inner) in object {
        if let Some(property) = schema.property(name).filter(|s| s.contains.keyed_lists) {
            value(inner, &path.child(name), property, errors);
        }
    }
}

fn value(value: &Value, path: &Path, schema: &Structural, errors: &mut ErrorList) {
    match value {
        Value::Object(object) => fields(object, path, schema, errors),
        Value::Array(items) => {
            match schema.list_type {
                Some(ListType::Set) => set(items, path, errors),
                Some(ListType::Map) => map(items, path, schema, errors),
                _ => {}
            }
            if let Some(inner) = schema.items.as_ref().filter(|s| s.contains.keyed_lists) {
                for (index, item) in items.iter().enumerate() {
                    self::value(item, &path.index(index), inner, errors);
                }
            }
        }
        _ => {}
    }
}

fn set(items: &[Value], path: &Path, errors: &mut ErrorList) {
    let keys: Vec<String> = items.iter().map(Value::to_string).collect();
    for index in repeated(&keys) {
        errors.push(FieldError::duplicate(
            &path.index(index),
            items[index].clone(),
        ));
    }
}

fn map(items: &[Value], path: &Path, schema: &Structural, errors: &mut ErrorList) {
    let strange = |item: &&Value| !item.is_object() && !item.is_null();
    if let Some(index) = items.iter().position(|item| strange(&item)) {
        errors.push(FieldError::invalid(
            &path.index(index),
            items[index].clone(),
            "must be an object for an array of list-type map",
        ));
        return;
    }
    let key_of = |item: &Value| -> Value {
        let mut key = Object::new();
        for name in &schema.list_map_keys {
            if let Some(value) = item.get(&**name) {
                key.insert((**name).to_owned(), value.clone());
            }
        }
        json!(key)
    };
    if items.len() < 2 {
        return;
    }
    let keys: Vec<Value> = items.iter().map(key_of).collect();
    let texts: Vec<String> = keys.iter().map(Value::to_string).collect();
    for index in repeated(&texts) {
        errors.push(FieldError::duplicate(
            &path.index(index),
            keys[index].clone(),
        ));
    }
}

/// Where keys appear for the second time.
fn repeated(keys: &[String]) -> Vec<usize> {
    let mut seen: HashMap<&str, usize> = HashMap::with_capacity(keys.len());
    let mut out = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let times = seen.entry(key).or_default();
        *times += 1;
        if *times == 2 {
            out.push(index);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Interner;

    #[test]
    fn items_are_unique() {
        let schema = json!({"type": "object", "properties": {
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"],
                "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}}}});
        let schema = Structural::compile(Some(&schema), &Interner::default());
        let object = json!({"set": ["x", "y", "x", "x"], "map": [{"a": "1", "b": 1}, {"a": "1"}, {"a": "1", "b": 1, "c": 2}]});
        let errors = validate(object.as_object().unwrap(), &schema);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                r#"map[2]: Duplicate value: {"a":"1","b":1}"#,
                r#"set[2]: Duplicate value: "x""#
            ]
        );
    }
}
