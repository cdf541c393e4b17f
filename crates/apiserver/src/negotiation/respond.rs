//! All `Status` bodies, and the head of every answer that is an object.

use apimachinery::{Object, gvk::GroupVersionKind, meta, status::Status};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use super::{Accept, Encoding, Transform, encode::encode_object, maybe_gzip};
use crate::{body::Body, query::Query};

/// The answer that says `status`, in the encoding that the client would have had. Whoever takes none of them is told in indented JSON.
pub fn status_response(status: &Status, headers: &HeaderMap, query: &Query) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let encoded = Accept::of_status(headers, query).and_then(|accept| {
        let body = encode_status(status, accept)
            .inspect_err(|error| tracing::error!(%error, "a status could not be encoded"));
        Some((accept.encoding, body.ok()?))
    });
    let (encoding, body) = encoded.unwrap_or_else(|| {
        let body = serde_json::to_vec_pretty(status).unwrap_or_default();
        (Encoding::Json, body.into())
    });
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(encoding.media_type()),
    );
    let retry_after = status
        .details
        .as_ref()
        .map_or(0, |details| details.retry_after_seconds);
    if retry_after > 0 {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
    }
    response
}

/// What is said in plain words, as Go's `http.Error` says it: the text gets its line ended.
pub fn plain_error(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A `Status` as a body.
pub(super) fn encode_status(status: &Status, accept: Accept) -> Result<Bytes, Status> {
    match serde_json::to_value(status).map_err(Status::internal)? {
        Value::Object(object) => encode_object(&object, &STATUS, accept),
        _ => Err(Status::internal("a status is an object")),
    }
}

const STATUS: GroupVersionKind = GroupVersionKind::new("", "v1", "Status");

/// An answer that is one object, or anything else that is all there.
pub fn respond_bytes(
    request: &HeaderMap,
    code: StatusCode,
    accept: Accept,
    body: Bytes,
) -> Result<Response<Body>, Status> {
    let response = Response::builder().status(code).header(
        header::CONTENT_TYPE,
        HeaderValue::from_static(accept.encoding.media_type()),
    );
    if body.len() <= super::compress::THRESHOLD {
        return response.body(Body::from(body)).map_err(Status::internal);
    }
    let size = body.len();
    let body = Body::at_hand(std::iter::once(body));
    maybe_gzip(request, response, size, body).map_err(Status::internal)
}

/// An answer that is one object given as a tree.
pub fn respond_object(
    request: &HeaderMap,
    code: StatusCode,
    accept: Accept,
    object: &Object,
    gvk: &GroupVersionKind,
) -> Result<Response<Body>, Status> {
    if accept.v1beta1 && accept.transform != Transform::None {
        let (object, gvk) = (in_version(object.clone(), accept), v1beta1(gvk));
        return respond_bytes(request, code, accept, encode_object(&object, &gvk, accept)?);
    }
    respond_bytes(request, code, accept, encode_object(object, gvk, accept)?)
}

fn v1beta1(gvk: &GroupVersionKind) -> GroupVersionKind {
    GroupVersionKind {
        version: "v1beta1".into(),
        ..gvk.clone()
    }
}

/// A table or metadata in the version that was asked for. The two versions differ in nothing but their name.
pub(crate) fn in_version(mut object: Object, accept: Accept) -> Object {
    if !accept.v1beta1 || accept.transform == Transform::None {
        return object;
    }
    rename_version(&mut object);
    for (list, item) in [("rows", Some("object")), ("items", None)] {
        let items = object.get_mut(list).and_then(Value::as_array_mut);
        for entry in items.into_iter().flatten() {
            let inner = match item {
                Some(member) => entry.get_mut(member),
                None => Some(entry),
            };
            if let Some(Value::Object(inner)) = inner {
                rename_version(inner);
            }
        }
    }
    object
}

fn rename_version(object: &mut Object) {
    if meta::api_version(object) == "meta.k8s.io/v1" {
        object.insert("apiVersion".to_owned(), "meta.k8s.io/v1beta1".into());
    }
}
