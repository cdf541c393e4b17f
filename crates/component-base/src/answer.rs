//! Answers: bodies, plain text, and `Status` objects, as upstream's generic server writes them.

use apimachinery::Status;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use serde::Serialize;

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// A body; streams are pulled, so that a slow client costs no queue.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

const TEXT: &str = "text/plain; charset=utf-8";

/// A body that is there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// 200 of a content type.
pub fn ok(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Plain text, of which nobody shall guess that it is anything else.
pub fn text(code: StatusCode, text: impl Into<String>) -> Response<Body> {
    let mut response = ok(TEXT, full(text.into()));
    *response.status_mut() = code;
    let nosniff = HeaderValue::from_static("nosniff");
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// 404 as Go's multiplexer says it.
pub(crate) fn not_found() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// JSON, with a line's end as Go's encoder writes.
pub(crate) fn json(code: StatusCode, value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(mut bytes) => {
            bytes.push(b'\n');
            let mut response = ok("application/json", full(bytes));
            *response.status_mut() = code;
            response
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

/// A `Status` object under its own code.
pub(crate) fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, status)
}
