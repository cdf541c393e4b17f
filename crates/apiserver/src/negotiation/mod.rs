//! What the client can read and what it has sent: media types, shapes (`as=Table`, `as=PartialObjectMetadata`), compression.
//!
//! Two gates, as upstream: the route's own list of media types (worded "406: Not Acceptable" with the available representations), then the
//! serializers and transformations.

mod accept;
mod compress;
mod content;
mod encode;
mod respond;
mod yaml;

pub use accept::{Accept, Encoding, Endpoint, Transform};
pub(crate) use accept::{
    LIST_SERIALIZERS, LOG_SERIALIZERS, SERIALIZERS, preferred, route_produces, route_status,
};
pub use compress::maybe_gzip;
pub use content::{ContentEncoding, content_type};
pub use encode::encode_object;
pub(crate) use respond::in_version;
pub use respond::{plain_error, respond_bytes, respond_object, status_response};
