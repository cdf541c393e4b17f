//! Objects into bytes.

use apimachinery::{Object, gvk::GroupVersionKind, status::Status};
use bytes::Bytes;
use serde_json::Value;

use super::{Accept, Encoding};
use crate::storage;

/// An object in the encoding that is accepted.
pub fn encode_object(
    object: &Object,
    _gvk: &GroupVersionKind,
    accept: Accept,
) -> Result<Bytes, Status> {
    match accept.encoding {
        Encoding::Json if accept.pretty => {
            let mut out = serde_json::to_vec_pretty(&Value::Object(object.clone()))
                .map_err(Status::internal)?;
            out.push(b'\n');
            Ok(out.into())
        }
        Encoding::Json => {
            let mut out = storage::encode(object)?;
            out.push(b'\n');
            Ok(out.into())
        }
        Encoding::Yaml | Encoding::Protobuf => Err(Status::not_acceptable(&["application/json"])),
    }
}
