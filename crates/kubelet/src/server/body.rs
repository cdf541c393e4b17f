//! Answers: bodies whole or streamed, and refusals as upstream's kubelet words them, in plain text.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;

pub(super) use component_base::{Body, full, ok};

/// Nothing.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Chunk by chunk.
pub(super) fn stream(
    chunks: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static,
) -> Body {
    StreamBody::new(chunks.map_ok(Frame::data).map_err(Into::into)).boxed_unsync()
}

/// 200 with JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<Response<Body>, Refusal> {
    let text = serde_json::to_vec(value)
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    Ok(ok("application/json", full(text)))
}

/// A request that is not served: a code and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: StatusCode,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    pub(super) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = ok("text/plain; charset=utf-8", full(self.message));
        *response.status_mut() = self.code;
        response
    }
}

/// The runtime's error as the streaming server of CRI answers it.
impl From<cri::CriError> for Refusal {
    fn from(error: cri::CriError) -> Self {
        let code = match error.code() {
            cri::Code::NotFound => StatusCode::NOT_FOUND,
            cri::Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(code, error.to_string())
    }
}
