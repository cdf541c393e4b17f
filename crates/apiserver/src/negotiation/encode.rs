//! Objects into bytes.

use apimachinery::{Object, gvk::GroupVersionKind, protobuf, status::Status};
use bytes::Bytes;

use super::{Accept, Encoding, yaml};
use crate::storage;

/// An object in the encoding that is accepted. `gvk` is its kind, whose schema protobuf needs; kinds without one are not to be had in it.
pub fn encode_object(
    object: &Object,
    gvk: &GroupVersionKind,
    accept: Accept,
) -> Result<Bytes, Status> {
    match accept.encoding {
        Encoding::Json if accept.pretty => {
            // Without the end of a line, as upstream.
            let out = serde_json::to_vec_pretty(object).map_err(Status::internal)?;
            Ok(out.into())
        }
        Encoding::Json => {
            let mut out = Vec::with_capacity(8 << 10);
            storage::write_json(object, &mut out);
            out.push(b'\n');
            Ok(out.into())
        }
        Encoding::Yaml => Ok(yaml::encode(object).into()),
        Encoding::Protobuf => {
            let ty = api::facts::type_of(gvk)
                .ok_or_else(|| Status::not_acceptable(&["application/json", "application/yaml"]))?;
            Ok(protobuf::encode(object, ty).into())
        }
    }
}
