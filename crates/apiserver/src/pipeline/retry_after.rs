//! A server that stops sends clients elsewhere: 429 with Retry-After, and the connection is closed.

use http::{HeaderValue, Response, StatusCode, header};

use crate::{body::Body, context::Context, negotiation::plain_error};

/// Everybody but this process' own parts, which stop with it, and those who ask how it is.
pub(super) fn applies(context: &Context) -> bool {
    let path = context.info.path.as_str();
    let asks_how_it_is = ["/healthz", "/livez", "/readyz"]
        .iter()
        .any(|health| path.starts_with(health));
    context.remote().is_some() && !asks_how_it_is
}

pub(super) fn shutting_down() -> Response<Body> {
    let text = "The apiserver is shutting down, please try again later.";
    let mut response = plain_error(StatusCode::TOO_MANY_REQUESTS, text);
    let headers = response.headers_mut();
    for (name, value) in [(header::RETRY_AFTER, "5"), (header::CONNECTION, "close")] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
