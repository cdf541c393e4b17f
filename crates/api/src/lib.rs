//! The built-in kinds: facts tables, defaulting, validation, strategies, printer columns, subresources. No I/O.
//!
//! [`kinds::TABLE`] is the entry: one row a served resource, each with its [`kind::Strategy`]. The registry of the API server drives
//! built-in and custom resources through the same trait.

pub mod descriptions;
pub mod facts;
pub mod fields;
pub mod internal;
pub mod kind;
pub mod kinds;
pub mod lifecycle;
pub mod meta;
pub mod printers;
pub mod quota;
pub mod scale;
pub mod served;
pub mod validate;

pub use apimachinery::names;
pub use kind::{Hub, Resource, Scope, Storage, Strategy, Subresource};
pub use served::{ServedResource, StrategyRef};
