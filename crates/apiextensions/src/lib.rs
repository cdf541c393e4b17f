//! The machinery of CustomResourceDefinitions, without I/O: what upstream's `apiextensions-apiserver` knows of schemas.
//!
//! [`definition::Definition`] is the entry: parsed from the stored object, it holds a compiled [`schema::Structural`] for each version, and
//! [`definition::Version`] takes a custom object through decoding, defaulting and validation ([`mod@resource`]). Built-in kinds have
//! tables for all of this; custom ones meet the same registry through these values.

pub mod bridge;
pub mod correlate;
pub mod default;
pub mod definition;
pub mod embedded;
mod field_path;
pub mod format;
pub mod jsonpath;
pub mod list_type;
pub mod openapi;
pub mod pattern;
pub mod prune;
pub mod resource;
pub mod rules;
pub mod scale;
pub mod schema;
pub mod selectable;
pub mod table;
pub mod validate;
pub mod validation;

pub use definition::{Conversion, Definition, Names, Version};
pub use schema::{Interner, Structural};
