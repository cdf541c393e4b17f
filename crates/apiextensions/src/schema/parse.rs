//! `JSONSchemaProps` as JSON, into nodes.
//!
//! Lenient on purpose: what makes a schema invalid is said by [`crate::structural`] when a definition is written; here a keyword of the
//! wrong shape counts as absent, so that a definition of an older server can always be served. Depth is bounded by that of the body's decoder.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Additional, Interner, JsonType, ListType, MapType, SchemaRef, Structural, ValueValidation,
};
use crate::{
    format::Format,
    rules::{Rule, Rules},
};

impl Structural {
    /// Compiles a schema. `None` is the schema that says nothing.
    pub fn compile(schema: Option<&Value>, interner: &Interner) -> SchemaRef {
        node(schema.and_then(Value::as_object), interner)
    }
}

fn node(schema: Option<&Map<String, Value>>, interner: &Interner) -> SchemaRef {
    let Some(schema) = schema else {
        return interner.node(Structural::default());
    };
    let mut node = Structural {
        json_type: json_type(text(schema, "type")),
        nullable: flag(schema, "nullable"),
        preserve_unknown: flag(schema, "x-kubernetes-preserve-unknown-fields"),
        embedded: flag(schema, "x-kubernetes-embedded-resource"),
        int_or_string: flag(schema, "x-kubernetes-int-or-string"),
        list_type: match text(schema, "x-kubernetes-list-type") {
            "atomic" => Some(ListType::Atomic),
            "set" => Some(ListType::Set),
            "map" => Some(ListType::Map),
            _ => None,
        },
        map_type: match text(schema, "x-kubernetes-map-type") {
            "atomic" => Some(MapType::Atomic),
            "granular" => Some(MapType::Granular),
            _ => None,
        },
        list_map_keys: names(schema.get("x-kubernetes-list-map-keys"), interner),
        default: schema
            .get("default")
            .filter(|value| !value.is_null())
            .map(|value| Box::new(value.clone())),
        values: None,
        ..Structural::default()
    };
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        let mut compiled: Vec<_> = properties
            .iter()
            .map(|(name, value)| (interner.name(name), self::node(value.as_object(), interner)))
            .collect();
        compiled.sort_by(|a, b| a.0.cmp(&b.0));
        node.properties = compiled.into();
    }
    node.additional = match schema.get("additionalProperties") {
        Some(Value::Bool(allows)) => Additional::Allows(*allows),
        Some(Value::Object(inner)) => Additional::Schema(self::node(Some(inner), interner)),
        _ => Additional::Unset,
    };
    node.items = schema
        .get("items")
        .and_then(Value::as_object)
        .map(|items| self::node(Some(items), interner));
    node.rules = schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .map(|rules| {
            rules
                .iter()
                .filter_map(Value::as_object)
                .map(Rule::parse)
                .collect()
        })
        .map(Rules::new)
        .filter(|rules| !rules.list().is_empty())
        .map(Box::new);
    let values = value_validation(schema, node.json_type, node.int_or_string, interner);
    node.values = (values != ValueValidation::default()).then(|| Box::new(values));
    node.contains.defaults = node.default.is_some();
    node.contains.embedded = node.embedded;
    node.contains.rules = node.rules.is_some();
    node.contains.keyed_lists = matches!(node.list_type, Some(ListType::Set | ListType::Map));
    let children = node
        .properties
        .iter()
        .map(|(_, child)| child)
        .chain(node.additional.schema())
        .chain(&node.items);
    let mut contains = node.contains;
    children.for_each(|child| contains.join(child.contains));
    node.contains = contains;
    interner.node(node)
}

fn value_validation(
    schema: &Map<String, Value>,
    json_type: JsonType,
    int_or_string: bool,
    interner: &Interner,
) -> ValueValidation {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let length = |key: &str| schema.get(key).and_then(Value::as_i64);
    let all = |key: &str| -> Box<[SchemaRef]> {
        schema
            .get(key)
            .and_then(Value::as_array)
            .map(|list| {
                list.iter()
                    .map(|inner| node(inner.as_object(), interner))
                    .collect()
            })
            .unwrap_or_default()
    };
    let pattern = text(schema, "pattern");
    ValueValidation {
        format: Format::supported(text(schema, "format"), json_type, int_or_string),
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: flag(schema, "exclusiveMinimum"),
        exclusive_maximum: flag(schema, "exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: length("minLength"),
        max_length: length("maxLength"),
        pattern: (!pattern.is_empty()).then(|| interner.pattern(pattern)),
        min_items: length("minItems"),
        max_items: length("maxItems"),
        unique_items: flag(schema, "uniqueItems"),
        min_properties: length("minProperties"),
        max_properties: length("maxProperties"),
        required: names(schema.get("required"), interner),
        enumeration: schema
            .get("enum")
            .and_then(Value::as_array)
            .map(|values| values.clone().into())
            .unwrap_or_default(),
        all_of: all("allOf"),
        any_of: all("anyOf"),
        one_of: all("oneOf"),
        not: schema
            .get("not")
            .and_then(Value::as_object)
            .map(|inner| node(Some(inner), interner)),
    }
}

fn json_type(name: &str) -> JsonType {
    match name {
        "object" => JsonType::Object,
        "array" => JsonType::Array,
        "string" => JsonType::String,
        "integer" => JsonType::Integer,
        "number" => JsonType::Number,
        "boolean" => JsonType::Boolean,
        _ => JsonType::Unset,
    }
}

fn text<'a>(schema: &'a Map<String, Value>, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn names(list: Option<&Value>, interner: &Interner) -> Box<[Arc<str>]> {
    list.and_then(Value::as_array)
        .map(|list| {
            list.iter()
                .filter_map(Value::as_str)
                .map(|name| interner.name(name))
                .collect()
        })
        .unwrap_or_default()
}
