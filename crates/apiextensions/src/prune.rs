//! Pruning: what the schema does not specify is dropped and, if asked for, noted for `fieldValidation`.
//!
//! Paths read `spec.list[0].foo`. Keys of maps read as fields do. They are sorted at the end, as upstream's are.

use std::fmt::Write as _;

use apimachinery::Object;
use serde_json::Value;

use crate::schema::Structural;

/// Unknown fields that were found. Bounded: what a client is told of ends at [`Unknown::MAX`].
#[derive(Debug, Default)]
pub struct Unknown {
    paths: Vec<String>,
}

impl Unknown {
    /// At most this many are kept.
    pub const MAX: usize = 100;

    fn push(&mut self, path: &str, name: &str) {
        if self.paths.len() < Self::MAX {
            let dot = if path.is_empty() { "" } else { "." };
            self.paths.push(format!("{path}{dot}{name}"));
        }
    }

    /// The paths, sorted.
    pub fn into_sorted(mut self) -> Vec<String> {
        self.paths.sort();
        self.paths
    }
}

const META: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Prunes an object by the schema of its version. `apiVersion`, `kind` and `metadata` are not the schema's.
pub fn prune(object: &mut Object, schema: &Structural, unknown: Option<&mut Unknown>) {
    let mut walk = Walk {
        path: String::new(),
        unknown,
    };
    walk.fields(object, schema, true);
}

/// Prunes a value below the root.
pub(crate) fn prune_value(value: &mut Value, schema: &Structural) {
    let mut walk = Walk {
        path: String::new(),
        unknown: None,
    };
    walk.value(value, Some(schema));
}

struct Walk<'u> {
    /// Where the walk is; kept only if it is asked what is unknown.
    path: String,
    unknown: Option<&'u mut Unknown>,
}

impl Walk<'_> {
    fn value(&mut self, value: &mut Value, schema: Option<&Structural>) {
        match (value, schema) {
            (Value::Object(object), Some(schema)) => self.fields(object, schema, schema.embedded),
            (Value::Object(object), None) => {
                if let Some(unknown) = &mut self.unknown {
                    for name in object.keys() {
                        unknown.push(&self.path, name);
                    }
                }
                object.clear();
            }
            (Value::Array(items), Some(schema)) if schema.preserve_unknown => {
                self.kept_items(items, schema);
            }
            (Value::Array(items), schema) => {
                let inner = schema.and_then(|s| s.items.as_deref());
                // Scalars without schema lose nothing.
                for (index, item) in items.iter_mut().enumerate() {
                    self.at_index(index, |walk| walk.value(item, inner));
                }
            }
            _ => {}
        }
    }

    fn fields(&mut self, object: &mut Object, schema: &Structural, embedded: bool) {
        let root = self.path.is_empty();
        object.retain(|name, value| {
            if embedded && META.contains(&&**name) {
                return true;
            }
            if let Some(inner) = schema.field(name) {
                if value.is_object() || value.is_array() {
                    self.at_field(name, |walk| walk.value(value, Some(inner)));
                }
                return true;
            }
            if schema.additional.is_set() {
                // `true` allows the field, but says nothing of what is in it.
                self.at_field(name, |walk| walk.value(value, None));
                return true;
            }
            if schema.preserve_unknown {
                return true;
            }
            if let Some(unknown) = &mut self.unknown
                && !(root && META.contains(&&**name))
            {
                unknown.push(&self.path, name);
            }
            false
        });
    }

    /// Items of a list that keeps what it does not know: their schema, if there is one, prunes what it does specify.
    fn kept_items(&mut self, items: &mut [Value], schema: &Structural) {
        let Some(inner) = &schema.items else {
            return;
        };
        for (index, item) in items.iter_mut().enumerate() {
            self.at_index(index, |walk| match item {
                Value::Object(object) => walk.kept_fields(object, inner),
                Value::Array(items) => walk.kept_items(items, inner),
                _ => {}
            });
        }
    }

    /// Fields of an object inside of such a list: unknown ones stay, known ones are pruned by their own schemas.
    fn kept_fields(&mut self, object: &mut Object, schema: &Structural) {
        for (name, value) in object.iter_mut() {
            if schema.embedded && META.contains(&&**name) {
                continue;
            }
            let inner = schema.field(name);
            if inner.is_some() || schema.additional.is_set() {
                self.at_field(name, |walk| walk.value(value, inner.map(|s| &**s)));
            }
        }
    }

    fn at_field(&mut self, name: &str, inside: impl FnOnce(&mut Self)) {
        if self.unknown.is_none() {
            return inside(self);
        }
        let end = self.path.len();
        if end > 0 {
            self.path.push('.');
        }
        self.path.push_str(name);
        inside(self);
        self.path.truncate(end);
    }

    fn at_index(&mut self, index: usize, inside: impl FnOnce(&mut Self)) {
        if self.unknown.is_none() {
            return inside(self);
        }
        let end = self.path.len();
        let _ = write!(self.path, "[{index}]");
        inside(self);
        self.path.truncate(end);
    }
}

/// Drops nulls that are neither allowed nor replaced by a default.
pub fn prune_nulls(object: &mut Object, schema: &Structural) {
    object.retain(|name, value| {
        let inner = schema.field(name);
        if value.is_null() && inner.is_some_and(|s| !s.nullable && s.default.is_none()) {
            return false;
        }
        if let Some(inner) = inner {
            prune_nulls_within(value, inner);
        }
        true
    });
}

fn prune_nulls_within(value: &mut Value, schema: &Structural) {
    match value {
        Value::Object(object) => prune_nulls(object, schema),
        Value::Array(items) => {
            if let Some(inner) = &schema.items {
                items
                    .iter_mut()
                    .for_each(|item| prune_nulls_within(item, inner));
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::Interner;

    fn pruned(schema: Value, value: Value) -> (Value, Vec<String>) {
        let schema = Structural::compile(Some(&schema), &Interner::default());
        let Value::Object(mut object) = value else {
            panic!("an object");
        };
        let mut unknown = Unknown::default();
        prune(&mut object, &schema, Some(&mut unknown));
        (Value::Object(object), unknown.into_sorted())
    }

    #[test]
    fn unknown_fields_go_and_are_named() {
        let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "a": {"type": "string"},
            "keep": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
                "inner": {"type": "object", "properties": {"x": {"type": "integer"}}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "string"}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"v": {"type": "string"}}}},
        }}}});
        let value = json!({"apiVersion": "g/v1", "metadata": {"zzz": 1}, "top": 1, "spec": {
            "a": {"deep": 1}, "zzz": 1,
            "keep": {"any": {"thing": 1}, "inner": {"x": 1, "dropped": 2}},
            "list": [{"n": "x", "m": 1}, [{"q": 1}]],
            "map": {"k": {"v": "x", "w": 1}}}});
        let (value, unknown) = pruned(schema, value);
        assert_eq!(
            value,
            json!({"apiVersion": "g/v1", "metadata": {"zzz": 1}, "spec": {
                "a": {},
                "keep": {"any": {"thing": 1}, "inner": {"x": 1}},
                "list": [{"n": "x"}, [{}]],
                "map": {"k": {"v": "x"}}}})
        );
        assert_eq!(
            unknown,
            [
                "spec.a.deep",
                "spec.keep.inner.dropped",
                "spec.list[0].m",
                "spec.list[1][0].q",
                "spec.map.k.w",
                "spec.zzz",
                "top"
            ]
        );
    }

    #[test]
    fn nulls_stay_where_they_mean_something() {
        let schema = json!({"type": "object", "properties": {
            "may": {"type": "string", "nullable": true},
            "not": {"type": "string"},
            "default": {"type": "string", "default": "x"},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}}}});
        let schema = Structural::compile(Some(&schema), &Interner::default());
        let mut value = json!({"may": null, "not": null, "default": null, "map": {"a": null}, "list": [null], "other": null});
        prune_nulls(value.as_object_mut().unwrap(), &schema);
        assert_eq!(
            value,
            json!({"may": null, "default": null, "map": {}, "list": [null], "other": null})
        );
    }
}
