//! Patch: a JSON patch, a merge patch or a strategic merge patch on the object as it is, then an update with what comes out. The
//! patch is applied anew whenever the object changed underneath.

use apimachinery::{Object, gvk::GroupVersionKind, meta, status::Status};
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;

use super::{
    Call, body,
    options::WriteOptions,
    update::Want,
};
use crate::{
    body::Body,
    negotiation::{Accept, Endpoint as Sort, content_type, route_status},
};

/// How the patch is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort_ {
    Json,
    Merge,
    Strategic,
}

/// A patch, read.
#[derive(Debug)]
pub(super) struct Patch {
    sort: Sort_,
    value: Value,
}
