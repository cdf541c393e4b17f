//! One connection to what stands behind the server: dialled, wrapped in TLS as its [`Trust`] says, and spoken to in HTTP/1.1.
//!
//! A connection serves one request. Streams dominate here, and a request that fails because a kept connection had just been closed
//! could not be sent again: its body is gone.

use std::{io, sync::Arc, time::Duration};

use base::TaskGroup;
use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::body::Body;

/// Time to connect and shake hands, as upstream's dialers.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Where a request goes.
#[derive(Clone, Debug)]
pub(crate) struct Location {
    /// Name or address, without brackets.
    pub(crate) host: String,
    /// A number, as it was given.
    pub(crate) port: String,
    /// The path, encoded; empty for none.
    pub(crate) path: String,
    /// The query with its question mark, or empty.
    pub(crate) query: String,
    /// Plain HTTP if none.
    pub(crate) tls: Option<Arc<ClientConfig>>,
    /// What its certificate is for, if that is not the host.
    pub(crate) server_name: Option<String>,
}

impl Location {
    /// `host:port`, with brackets around IPv6 addresses.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// For messages.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{}{}", self.authority(), self.path, self.query)
    }

    /// Dials, sends the request, and waits for the head of the answer. The connection ends with the answer's body, or lives on if it
    /// was upgraded.
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
        tasks: &TaskGroup,
    ) -> Result<Response<Incoming>, BackendError> {
        let stream = match tokio::time::timeout(CONNECT_TIMEOUT, self.dial()).await {
            Ok(stream) => stream?,
            Err(_) => return Err(self.dial_error("i/o timeout".to_owned())),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tasks.spawn_cancellable("backend-connection", async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a backend ended");
            }
        });
        Ok(sender.send_request(request).await?)
    }

    async fn dial(&self) -> Result<Box<dyn Stream>, BackendError> {
        let port: u16 = self
            .port
            .parse()
            .map_err(|_| BackendError::Dial(format!("lookup tcp/{}: unknown port", self.port)))?;
        let stream = TcpStream::connect((self.host.as_str(), port))
            .await
            .map_err(|error| self.dial_error(reason(&error)))?;
        // Terminals send single keystrokes.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(
            self.server_name
                .clone()
                .unwrap_or_else(|| self.host.clone()),
        )
        .map_err(|error| BackendError::Tls(error.to_string()))?;
        let stream = TlsConnector::from(Arc::clone(tls))
            .connect(name, stream)
            .await
            .map_err(|error| BackendError::Tls(error.to_string()))?;
        Ok(Box::new(stream))
    }

    fn dial_error(&self, reason: String) -> BackendError {
        BackendError::Dial(format!("dial tcp {}: {reason}", self.authority()))
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why a backend gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackendError {
    /// It cannot be reached; worded as Go does, because clients print it.
    #[error("{0}")]
    Dial(String),
    /// It cannot be trusted.
    #[error("tls: {0}")]
    Tls(String),
    /// The connection broke.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
        io::ErrorKind::TimedOut => "connect: connection timed out".to_owned(),
        _ => error.to_string(),
    }
}
