//! gRPC over a Unix socket.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::codegen::{Service, http::Uri};

/// Dials a socket by its path; `@name` is an abstract one.
#[derive(Clone, Debug)]
pub(crate) struct UnixConnector(pub(crate) String);

impl Service<Uri> for UnixConnector {
    type Response = TokioIo<UnixStream>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        // Tokio takes a leading NUL for an abstract name, which is written as `@`.
        let path = match self.0.strip_prefix("/@").or(self.0.strip_prefix('@')) {
            Some(name) => format!("\0{name}"),
            None => self.0.clone(),
        };
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}
