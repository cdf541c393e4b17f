//! The structural schema of a version, compiled from its `openAPIV3Schema`.
//!
//! One tree serves all: pruning, defaulting and rules walk its structure (properties, items, additionalProperties), validation walks
//! the value validations as well (`allOf` and its kin, which are trees of the same sort). What only readers need (descriptions,
//! examples) stays in the stored definition and is read from there when OpenAPI is published.
//!
//! Trees are interned ([`Interner`]): equal subtrees of all definitions are one allocation, so that a thousand definitions which repeat
//! the same pod template hold it once. Patterns are compiled on first use and shared by their text.
//!
//! Follows upstream's `apiextensions-apiserver/pkg/apiserver/schema`.

mod intern;
mod parse;

use std::{
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use serde_json::Value;

pub use intern::Interner;

use crate::{format::Format, pattern::Pattern, rules::Rules};

/// A shared node. Equal nodes of one [`Interner`] are the same allocation, and are compared as such.
#[derive(Clone, Debug)]
pub struct SchemaRef(Arc<Structural>);

impl Deref for SchemaRef {
    type Target = Structural;
    fn deref(&self) -> &Structural {
        &self.0
    }
}

impl PartialEq for SchemaRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Hash for SchemaRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// `type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum JsonType {
    /// Not said: only where the extensions or a surrounding structural schema say it.
    #[default]
    Unset,
    /// `object`.
    Object,
    /// `array`.
    Array,
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
}

impl JsonType {
    /// As in the schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unset => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// `x-kubernetes-list-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ListType {
    /// Owned as a whole.
    Atomic,
    /// Items are their own keys.
    Set,
    /// Items are told apart by `x-kubernetes-list-map-keys`.
    Map,
}

/// `x-kubernetes-map-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MapType {
    /// Owned as a whole.
    Atomic,
    /// Owned field by field.
    Granular,
}

/// `additionalProperties`.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub enum Additional {
    /// Not said.
    #[default]
    Unset,
    /// `true` or `false`.
    Allows(bool),
    /// Of this shape.
    Schema(SchemaRef),
}

impl Additional {
    /// The schema, if there is one.
    pub fn schema(&self) -> Option<&SchemaRef> {
        match self {
            Self::Schema(schema) => Some(schema),
            _ => None,
        }
    }
    /// Whether `additionalProperties` was said at all: unspecified fields are then not pruned.
    pub fn is_set(&self) -> bool {
        !matches!(self, Self::Unset)
    }
}

/// What a subtree has anywhere in its structure, so that walks skip what does not concern them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Contains {
    /// Defaults.
    pub defaults: bool,
    /// Lists of type `set` or `map`.
    pub keyed_lists: bool,
    /// Embedded resources.
    pub embedded: bool,
    /// `x-kubernetes-validations`.
    pub rules: bool,
}

impl Contains {
    fn join(&mut self, other: Self) {
        self.defaults |= other.defaults;
        self.keyed_lists |= other.keyed_lists;
        self.embedded |= other.embedded;
        self.rules |= other.rules;
    }
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Structural {
    /// `type`.
    pub json_type: JsonType,
    /// `nullable`.
    pub nullable: bool,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`.
    pub list_type: Option<ListType>,
    /// `x-kubernetes-map-type`.
    pub map_type: Option<MapType>,
    /// See [`Contains`].
    pub contains: Contains,
    /// `x-kubernetes-list-map-keys`.
    pub list_map_keys: Box<[Arc<str>]>,
    /// `properties`, sorted by name.
    pub properties: Box<[(Arc<str>, SchemaRef)]>,
    /// `additionalProperties`.
    pub additional: Additional,
    /// `items`.
    pub items: Option<SchemaRef>,
    /// `default`; pruned by [`crate::default::prune_defaults`] before it is used.
    pub default: Option<Box<Value>>,
    /// Everything that only validates.
    pub values: Option<Box<ValueValidation>>,
    /// `x-kubernetes-validations`.
    pub rules: Option<Box<Rules>>,
}

impl Structural {
    /// The schema of a property.
    pub fn property(&self, name: &str) -> Option<&SchemaRef> {
        let at = self
            .properties
            .binary_search_by(|(key, _)| (**key).cmp(name))
            .ok()?;
        Some(&self.properties[at].1)
    }

    /// The schema of a field: of the property, or of additional ones.
    pub fn field(&self, name: &str) -> Option<&SchemaRef> {
        self.property(name).or_else(|| self.additional.schema())
    }

    /// The types that validation accepts, as kube-openapi joins them; empty for any.
    pub(crate) fn accepted(&self) -> &'static str {
        if self.int_or_string {
            "integer,string"
        } else {
            self.json_type.name()
        }
    }
}

impl Hash for Structural {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // What tells most nodes apart; equality decides.
        self.json_type.hash(state);
        (
            self.nullable,
            self.preserve_unknown,
            self.embedded,
            self.int_or_string,
        )
            .hash(state);
        self.list_type.hash(state);
        self.properties.hash(state);
        self.additional.hash(state);
        self.items.hash(state);
        if let Some(values) = &self.values {
            values.hash(state);
        }
    }
}

/// The keywords that only validate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ValueValidation {
    /// `format`, if it is one that the server knows for the type.
    pub format: Option<Format>,
    /// `minimum`.
    pub minimum: Option<f64>,
    /// `maximum`.
    pub maximum: Option<f64>,
    /// `exclusiveMinimum`.
    pub exclusive_minimum: bool,
    /// `exclusiveMaximum`.
    pub exclusive_maximum: bool,
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// `minLength`, in characters.
    pub min_length: Option<i64>,
    /// `maxLength`, in characters.
    pub max_length: Option<i64>,
    /// `pattern`.
    pub pattern: Option<Arc<Pattern>>,
    /// `minItems`.
    pub min_items: Option<i64>,
    /// `maxItems`.
    pub max_items: Option<i64>,
    /// `uniqueItems`.
    pub unique_items: bool,
    /// `minProperties`.
    pub min_properties: Option<i64>,
    /// `maxProperties`.
    pub max_properties: Option<i64>,
    /// `required`, in the order of the schema.
    pub required: Box<[Arc<str>]>,
    /// `enum`; empty for any.
    pub enumeration: Box<[Value]>,
    /// `allOf`.
    pub all_of: Box<[SchemaRef]>,
    /// `anyOf`.
    pub any_of: Box<[SchemaRef]>,
    /// `oneOf`.
    pub one_of: Box<[SchemaRef]>,
    /// `not`.
    pub not: Option<SchemaRef>,
}

impl Hash for ValueValidation {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.format.hash(state);
        for bound in [self.minimum, self.maximum, self.multiple_of] {
            bound.map(f64::to_bits).hash(state);
        }
        (self.min_length, self.max_length).hash(state);
        self.pattern.as_ref().map(|p| p.source()).hash(state);
        (self.min_items, self.max_items).hash(state);
        self.required.hash(state);
        self.enumeration.len().hash(state);
        self.all_of.hash(state);
        self.any_of.hash(state);
        self.one_of.hash(state);
        self.not.hash(state);
    }
}
