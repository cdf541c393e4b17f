//! A path of old that ends before it says what it is about, such as `/api/v1/watch`: nobody can be asked whether that is allowed, so that the request
//! ends before it is even known whose it is, as upstream.

use http::{HeaderValue, Response, StatusCode, Uri};

use super::finish::AUDIT_ID;
use crate::{body::Body, context::Context, negotiation::plain_error};

/// 500, in plain words, with nothing of what other answers carry but the audit id.
pub(super) fn refusal(context: &Context, uri: &Uri) -> Response<Body> {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let text = format!(
        "Internal Server Error: {}: failed to create RequestInfo: unable to determine kind and namespace from url, {target}",
        apimachinery::quote(target)
    );
    let mut response = plain_error(StatusCode::INTERNAL_SERVER_ERROR, &text);
    if let Ok(id) = HeaderValue::from_str(&context.audit_id) {
        response.headers_mut().insert(AUDIT_ID, id);
    }
    response
}
