//! The way to the API server, behind one trait: HTTPS across machines ([`crate::Https`]), a function call in one process (an
//! adapter in the binary). The same bytes, the same authentication, authorization and admission on both.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::{BoxError, TransportError};

/// The body of an answer; it ends, or fails, when the connection does.
pub type Body = BoxBody<Bytes, BoxError>;

/// A raw duplex stream after `101 Switching Protocols`.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Sends requests to one API server.
///
/// The request's URI is the path and query alone; the transport knows the authority and adds credentials. Dropping the
/// future or the body cancels the request.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends one request and returns when the answer's head is there. Any HTTP status is an `Ok`.
    async fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> Result<http::Response<Body>, TransportError>;

    /// Sends a request for an upgrade (`exec`, `attach`, `port-forward`): the stream on 101, otherwise the refusal as it came.
    async fn upgrade(&self, _request: http::Request<Bytes>) -> Result<Upgraded, TransportError> {
        Err(TransportError::Unsupported("upgrade"))
    }
}

/// What came of a request for an upgrade.
pub enum Upgraded {
    /// The server switched protocols: its answer's head, and the stream.
    Switched(http::Response<()>, Box<dyn Duplex>),
    /// It answered otherwise.
    Refused(http::Response<Body>),
}
