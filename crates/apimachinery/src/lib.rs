//! What all kinds share: `Schema`, group/version/kind, object metadata, selectors, quantities, patches, `Status`, encodings. No I/O.

pub mod decode;
pub mod default;
pub mod encode;
pub mod field;
pub mod fields;
pub mod go;
pub mod gvk;
pub mod intstr;
mod json_string;
pub mod labels;
pub mod lookup;
pub mod managed_fields;
pub mod meta;
pub mod names;
pub mod patch;
pub mod projection;
pub mod protobuf;
pub mod quantity;
pub mod quote;
pub mod schema;
pub mod status;
pub mod time;
pub mod version_order;

pub use projection::Projection;
pub use quantity::Quantity;
pub use quote::{quote, quote_list};
pub use schema::{Schema, TypeRef};
pub use status::Status;

/// An object of any kind, as JSON.
pub type Object = serde_json::Map<String, serde_json::Value>;
