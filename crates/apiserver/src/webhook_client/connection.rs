//! A new connection to a webhook: resolved, dialled, wrapped in TLS, and spoken to in the protocol that was agreed on.

use std::{net::IpAddr, sync::Arc, time::Duration};

use base::{TaskGroup, tls};
use http::Uri;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{ClientConfig as TlsConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use super::{
    CallError, ClientConfig, ConfigError, Target, Trust, error::io_reason, pool::Connection,
    service_resolver,
};
use crate::reader::ObjectReader;

/// How often a silent HTTP/2 connection is asked whether it lives, and how long it has to say so, as upstream.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes connections.
pub(super) struct Dialer {
    target: Target,
    /// Host and port of the URL.
    host: String,
    port: u16,
    /// Plain HTTP if none.
    tls: Option<(Arc<TlsConfig>, ServerName<'static>)>,
    reader: Arc<dyn ObjectReader>,
    tasks: TaskGroup,
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Dialer {
    pub(super) fn new(
        config: &ClientConfig,
        url: &Uri,
        reader: Arc<dyn ObjectReader>,
        tasks: TaskGroup,
    ) -> Result<Self, ConfigError> {
        let host = url.host().unwrap_or_default();
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let secure = url.scheme_str() == Some("https");
        let tls = if secure {
            // One HTTP/2 connection would pin all calls to one replica; on this machine there is but one.
            let local = matches!(config.target, Target::Url(_)) && is_local(&host);
            let name = config.server_name.clone().unwrap_or_else(|| host.clone());
            let name =
                ServerName::try_from(name).map_err(|error| ConfigError::Url(error.to_string()))?;
            Some((Arc::new(tls_config(config, local)?), name))
        } else {
            None
        };
        Ok(Self {
            target: config.target.clone(),
            port: url.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            host,
            tls,
            reader,
            tasks,
        })
    }

    /// A new connection. How long that may take is the caller's to say.
    pub(super) async fn connect(&self) -> Result<Connection, CallError> {
        let stream = self.dial().await?;
        let Some((config, name)) = &self.tls else {
            return self.http1(stream).await;
        };
        let stream = TlsConnector::from(Arc::clone(config))
            .connect(name.clone(), stream)
            .await
            .map_err(|error| CallError::handshake(&error))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.http2(stream).await
        } else {
            self.http1(stream).await
        }
    }

    async fn dial(&self) -> Result<TcpStream, CallError> {
        let (host, port) = match &self.target {
            Target::Service {
                namespace,
                name,
                port,
                ..
            } => service_resolver::resolve(&*self.reader, namespace, name, *port)?,
            Target::Url(_) => (self.host.clone(), self.port),
        };
        let stream = match host.parse::<IpAddr>() {
            Ok(address) => {
                TcpStream::connect((address, port))
                    .await
                    .map_err(|error| CallError::Dial {
                        address: std::net::SocketAddr::new(address, port).to_string(),
                        reason: io_reason(&error),
                    })?
            }
            Err(_) => by_name(&host, port).await?,
        };
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }

    async fn http1(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Connection, CallError> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| CallError::broken(&error))?;
        self.tasks
            .spawn_cancellable("webhook-connection", async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection to a webhook ended");
                }
            });
        Ok(Connection::Http1(sender))
    }

    async fn http2(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> Result<Connection, CallError> {
        let (sender, connection) = http2::Builder::new(Spawn(self.tasks.clone()))
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| CallError::broken(&error))?;
        self.tasks
            .spawn_cancellable("webhook-connection", async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "connection to a webhook ended");
                }
            });
        Ok(Connection::Http2(sender))
    }
}

/// Runs what hyper spawns for an HTTP/2 connection in the server's task group.
#[derive(Clone)]
struct Spawn(TaskGroup);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn_cancellable("webhook-stream", future);
    }
}

/// Every address of the name, one after the other.
async fn by_name(host: &str, port: u16) -> Result<TcpStream, CallError> {
    let unknown = || CallError::Dial {
        address: format!("lookup {host}"),
        reason: "no such host".to_owned(),
    };
    let addresses = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| unknown())?;
    let mut failure = unknown();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                failure = CallError::Dial {
                    address: address.to_string(),
                    reason: io_reason(&error),
                };
            }
        }
    }
    Err(failure)
}

fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn tls_config(config: &ClientConfig, http2: bool) -> Result<TlsConfig, ConfigError> {
    let trust = match &config.trust {
        Trust::System => tls::Trust::System,
        Trust::Authorities(pem) => tls::Trust::Authorities(pem),
        Trust::Anything => tls::Trust::Anything,
    };
    let identity = config.credentials.certificate.as_ref();
    let identity = identity.map(|(certificate, key)| tls::Identity { certificate, key });
    let mut config =
        tls::client_config(trust, identity).map_err(|error| ConfigError::Tls(error.to_string()))?;
    config.alpn_protocols = tls::http_protocols();
    if !http2 {
        config.alpn_protocols.retain(|protocol| protocol != b"h2");
    }
    Ok(config)
}
