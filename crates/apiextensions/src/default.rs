//! Defaulting: constant values of the schema, put where a field is absent or holds a null that it may not.
//!
//! A default goes into every object that is there; one that is absent stays so, unless it has a default itself. Defaults are
//! pruned once, when a definition is compiled.

use std::sync::Arc;

use apimachinery::Object;
use serde_json::Value;

use crate::{
    prune,
    schema::{Additional, Interner, SchemaRef, Structural},
};

/// Fills in the defaults of an object's schema.
pub fn apply(object: &mut Object, schema: &Structural) {
    if !schema.contains.defaults {
        return;
    }
    for (name, property) in &schema.properties {
        let Some(default) = &property.default else {
            continue;
        };
        match object.get_mut(&**name) {
            Some(value) if value.is_null() && !property.nullable => *value = (**default).clone(),
            Some(_) => {}
            None => {
                object.insert((**name).to_owned(), (**default).clone());
            }
        }
    }
    for (name, value) in object.iter_mut() {
        if let Some(property) = schema.property(name) {
            apply_value(value, property);
        } else if let Additional::Schema(additional) = &schema.additional {
            replace_null(value, additional);
            apply_value(value, additional);
        }
    }
}

/// Fills in the defaults below a value.
pub fn apply_value(value: &mut Value, schema: &Structural) {
    if !schema.contains.defaults {
        return;
    }
    match value {
        Value::Object(object) => apply(object, schema),
        Value::Array(items) => {
            if let Some(inner) = &schema.items {
                for item in items {
                    replace_null(item, inner);
                    apply_value(item, inner);
                }
            }
        }
        _ => {}
    }
}

fn replace_null(value: &mut Value, schema: &Structural) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = (**default).clone();
    }
}

/// The same schema with its defaults pruned by itself, as upstream stores them. Nearly always the very same allocation.
pub fn prune_defaults(schema: &SchemaRef, interner: &Interner) -> SchemaRef {
    if !schema.contains.defaults {
        return schema.clone();
    }
    let properties: Box<[(Arc<str>, SchemaRef)]> = schema
        .properties
        .iter()
        .map(|(name, property)| (name.clone(), prune_defaults(property, interner)))
        .collect();
    let additional = match &schema.additional {
        Additional::Schema(inner) => Additional::Schema(prune_defaults(inner, interner)),
        other => other.clone(),
    };
    let items = schema.items.as_ref().map(|i| prune_defaults(i, interner));
    let default = schema.default.as_ref().map(|default| {
        let mut default = default.clone();
        prune::prune_value(&mut default, schema);
        default
    });
    if properties == schema.properties
        && additional == schema.additional
        && items == schema.items
        && default == schema.default
    {
        return schema.clone();
    }
    interner.node(Structural {
        properties,
        additional,
        items,
        default,
        ..Structural::clone(schema)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_nest_and_nulls_yield() {
        let interner = Interner::default();
        let schema = json!({"type": "object", "properties": {
            "spec": {"type": "object", "default": {}, "properties": {
                "a": {"type": "string", "default": "x"},
                "null": {"type": "string", "nullable": true, "default": "y"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer", "default": 1}}}},
                "map": {"type": "object", "additionalProperties": {"type": "integer", "default": 7}},
                "unknown": {"type": "object", "default": {"zzz": 1}}}}}});
        let schema = Structural::compile(Some(&schema), &interner);
        let schema = prune_defaults(&schema, &interner);
        for (before, after) in [
            (
                json!({}),
                json!({"spec": {"a": "x", "null": "y", "unknown": {}}}),
            ),
            (
                json!({"spec": {"a": null, "null": null, "list": [{}, {"n": 2}], "map": {"k": null}}}),
                json!({"spec": {"a": "x", "null": null, "list": [{"n": 1}, {"n": 2}], "map": {"k": 7}, "unknown": {}}}),
            ),
        ] {
            let Value::Object(mut object) = before else {
                panic!("an object");
            };
            apply(&mut object, &schema);
            assert_eq!(Value::Object(object), after);
        }
    }
}
