//! Declarations from schemas.
//!
//! Follows upstream's rules for structural schemas: what has no properties and keeps unknown fields is `dyn`; of an embedded object and of the root,
//! `apiVersion`, `kind` and the name in `metadata` are there even if the schema does not say so.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::{
    declaration::{Declaration, Field, ListType},
    escape::escape,
};

/// A structural schema, however it is held.
pub trait Schema: Sized {
    /// `type`; empty if none.
    fn type_name(&self) -> &str;
    /// `format`; empty if none.
    fn format(&self) -> &str;
    /// `items`.
    fn items(&self) -> Option<Self>;
    /// `properties`.
    fn properties(&self) -> Vec<(&str, Self)>;
    /// The schema in `additionalProperties`.
    fn additional_properties(&self) -> Option<Self>;
    /// `maxLength`, `maxItems` or `maxProperties`, by the keyword.
    fn bound(&self, keyword: &str) -> Option<u64>;
    /// `required`.
    fn is_required(&self, property: &str) -> bool;
    /// The texts in `enum`.
    fn enum_texts(&self) -> Vec<&str>;
    /// Whether an extension is true, `x-kubernetes-int-or-string` for one.
    fn extension(&self, name: &str) -> bool;
    /// `x-kubernetes-list-type`; empty if none.
    fn list_type(&self) -> &str;
    /// `x-kubernetes-list-map-keys`.
    fn list_map_keys(&self) -> Vec<&str>;
}

impl Schema for &Json {
    fn type_name(&self) -> &str {
        self["type"].as_str().unwrap_or_default()
    }

    fn format(&self) -> &str {
        self["format"].as_str().unwrap_or_default()
    }

    fn items(&self) -> Option<Self> {
        self.get("items")
    }

    fn properties(&self) -> Vec<(&str, Self)> {
        let properties = self["properties"].as_object();
        properties
            .into_iter()
            .flatten()
            .map(|(name, schema)| (name.as_str(), schema))
            .collect()
    }

    fn additional_properties(&self) -> Option<Self> {
        self.get("additionalProperties").filter(|s| s.is_object())
    }

    fn bound(&self, keyword: &str) -> Option<u64> {
        self[keyword]
            .as_i64()
            .map(|bound| u64::try_from(bound).unwrap_or(0))
    }

    fn is_required(&self, property: &str) -> bool {
        self["required"]
            .as_array()
            .is_some_and(|names| names.iter().any(|name| name == property))
    }

    fn enum_texts(&self) -> Vec<&str> {
        let values = self["enum"].as_array();
        values
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect()
    }

    fn extension(&self, name: &str) -> bool {
        self[name].as_bool().unwrap_or(false)
    }

    fn list_type(&self) -> &str {
        self["x-kubernetes-list-type"].as_str().unwrap_or_default()
    }

    fn list_map_keys(&self) -> Vec<&str> {
        let keys = self["x-kubernetes-list-map-keys"].as_array();
        keys.into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect()
    }
}

/// The declaration of a schema; none if expressions cannot see such a value. `name` is what object types below are called after in errors.
pub fn declaration(schema: &impl Schema, name: &str, is_root: bool) -> Option<Declaration> {
    if schema.extension("x-kubernetes-int-or-string") {
        return Some(Declaration::int_or_string(schema.bound("maxLength")));
    }
    let embedded = is_root || schema.extension("x-kubernetes-embedded-resource");
    match schema.type_name() {
        "array" => {
            let items = declaration(&schema.items()?, &format!("{name}.@idx"), false)?;
            let keys = || schema.list_map_keys().into_iter().map(Arc::from).collect();
            let list_type = match schema.list_type() {
                "set" => ListType::Set,
                "map" => ListType::Map(keys()),
                _ => ListType::Atomic,
            };
            Some(Declaration::list(
                items,
                list_type,
                schema.bound("maxItems"),
            ))
        }
        "object" => object(schema, name, embedded),
        "string" => Some(string(schema)),
        "boolean" => Some(Declaration::bool()),
        "number" => Some(Declaration::double()),
        "integer" => Some(Declaration::int()),
        // Of what is preserved without a type nothing is known that an expression could read.
        _ => None,
    }
}

fn object(schema: &impl Schema, name: &str, embedded: bool) -> Option<Declaration> {
    if let Some(values) = schema.additional_properties() {
        let values = declaration(&values, &format!("{name}.@elem"), false)?;
        return Some(Declaration::map(values, schema.bound("maxProperties")));
    }
    let mut fields: Vec<(Arc<str>, Field)> = Vec::new();
    for (property, below) in schema.properties() {
        let Some(escaped) = escape(property) else {
            continue;
        };
        // What an expression may read of metadata is the same everywhere.
        if embedded && matches!(property, "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let Some(declaration) = declaration(&below, &format!("{name}.{property}"), false) else {
            continue;
        };
        fields.push((
            Arc::from(escaped),
            Field {
                json_name: Arc::from(property),
                declaration,
                required: schema.is_required(property),
            },
        ));
    }
    if embedded {
        fields.push(Field::new("apiVersion", Declaration::string(None)));
        fields.push(Field::new("kind", Declaration::string(None)));
        let metadata = [
            Field::new("name", Declaration::string(None)),
            Field::new("generateName", Declaration::string(None)),
        ];
        fields.push(Field::new(
            "metadata",
            Declaration::object(&format!("{name}.metadata"), metadata),
        ));
    }
    Some(Declaration::object(name, fields))
}

fn string(schema: &impl Schema) -> Declaration {
    let max_length = schema.bound("maxLength");
    match schema.format() {
        "byte" => return Declaration::bytes(max_length),
        "duration" => return Declaration::duration(),
        "date" => return Declaration::date(),
        "date-time" => return Declaration::date_time(),
        _ => {}
    }
    let texts = schema.enum_texts();
    if max_length.is_none() && !texts.is_empty() {
        return Declaration::string_enum(texts);
    }
    Declaration::string(max_length)
}
