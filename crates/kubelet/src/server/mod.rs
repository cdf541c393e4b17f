//! The kubelet's HTTPS server: logs, exec, attach, port-forward, pods, statistics, metrics.
//!
//! A request's way: TLS ([`base::tls`]) → [`authn`] (client certificate, or token by TokenReview) → [`authz`] (SubjectAccessReview on `nodes`) →
//! [`router`] → its handler, which asks the [`Host`]. Paths, permissions and wording follow upstream's kubelet, so that any API server
//! and any metrics collector find here what they look for.
//!
//! Bounds: connections at once, time for handshake and head, size of the head; streams that carry nothing for
//! [`ServerConfig::streaming_connection_idle_timeout`] are closed.

mod authn;
mod authz;
mod body;
mod cache;
mod configz;
mod files;
mod host;
mod idle;
mod logs;
mod pods;
mod query;
mod router;
mod stats;
mod streams;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use base::{
    Clock, TaskGroup,
    tls::{ServingCertificate, TlsError},
};
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

pub use host::Host;

use authn::{Authentication, Peer};
use authz::Authorization;
use router::Router;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(32);
const MAX_HEAD: usize = 64 << 10;

/// What the server is told, in the words of `KubeletConfiguration`.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `address` and `port`.
    pub address: SocketAddr,
    /// `tlsCertFile` and `tlsPrivateKeyFile`.
    pub certificate: Arc<ServingCertificate>,
    /// `authentication.x509.clientCAFile`, read; without it nobody is known by certificate.
    pub client_ca_pem: Option<Vec<u8>>,
    /// `authentication.anonymous.enabled`.
    pub anonymous: bool,
    /// `authorization.mode`.
    pub authorization: AuthorizationMode,
    /// `streamingConnectionIdleTimeout`.
    pub streaming_connection_idle_timeout: Duration,
}

/// `authorization.mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthorizationMode {
    /// Everybody who is known may do everything.
    AlwaysAllow,
    /// The API server is asked.
    Webhook,
}

impl ServerConfig {
    /// Upstream's defaults with this certificate: no anonymous requests, the API server is asked.
    pub fn new(address: SocketAddr, certificate: Arc<ServingCertificate>) -> Self {
        Self {
            address,
            certificate,
            client_ca_pem: None,
            anonymous: false,
            authorization: AuthorizationMode::Webhook,
            streaming_connection_idle_timeout: Duration::from_secs(4 * 3600),
        }
    }
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, or not ours.
    #[error("the kubelet cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Asking needs somebody to ask.
    #[error("no client provided, cannot use webhook authorization")]
    NoClient,
}

/// A server that listens but does not serve yet, so that a taken port is known before anything else starts.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    authentication: Authentication,
    authorization: Authorization,
    idle_timeout: Duration,
}

impl Server {
    /// Binds. Tokens and permissions are checked with `client`.
    pub async fn bind(
        config: ServerConfig,
        client: Option<client::Client>,
        node_name: &str,
        clock: Clock,
    ) -> Result<Self, ServerError> {
        if config.authorization == AuthorizationMode::Webhook && client.is_none() {
            return Err(ServerError::NoClient);
        }
        let acceptor = TlsAcceptor::from(config.certificate.server_config()?);
        let authentication = Authentication::new(
            config.client_ca_pem.as_deref(),
            client.clone(),
            config.anonymous,
            clock.clone(),
        )?;
        let reviewer = client.filter(|_| config.authorization == AuthorizationMode::Webhook);
        let bind = |source| ServerError::Bind {
            address: config.address,
            source,
        };
        let listener = base::listen(config.address).await.map_err(bind)?;
        let port = listener.local_addr().map_err(bind)?.port();
        Ok(Self {
            address: SocketAddr::new(config.address.ip(), port),
            listener,
            acceptor,
            authentication,
            authorization: Authorization::new(reviewer, node_name, clock),
            idle_timeout: config.streaming_connection_idle_timeout,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until cancelled; returns when all connections and streams have ended.
    pub async fn run(self, host: Arc<dyn Host>, cancel: CancellationToken) {
        let tasks = TaskGroup::new(&cancel);
        let router = Arc::new(Router::new(host, tasks.clone(), self.idle_timeout));
        let service = Arc::new(Service {
            authentication: self.authentication,
            authorization: self.authorization,
            router,
        });
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let (listener, acceptor) = (self.listener, self.acceptor);
        let accepting = async {
            loop {
                // The semaphore is never closed.
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return;
                };
                let (stream, address) = match listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, mostly: wait for connections to end.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let (acceptor, service) = (acceptor.clone(), Arc::clone(&service));
                tasks.spawn_cancellable("kubelet-connection", async move {
                    let _slot = slot;
                    connection(stream, address, acceptor, service).await;
                });
            }
        };
        let _ = cancel.run_until_cancelled(accepting).await;
        tasks.shutdown().await;
    }
}

/// What stands behind every connection.
struct Service {
    authentication: Authentication,
    authorization: Authorization,
    router: Arc<Router>,
}

impl Service {
    async fn serve(&self, request: Request<Incoming>, peer: &Peer) -> http::Response<body::Body> {
        let allowed = async {
            let user = self
                .authentication
                .authenticate(request.headers(), peer)
                .await?;
            self.authorization
                .authorize(&user, request.method(), request.uri().path())
                .await
        };
        match allowed.await {
            Ok(()) => self.router.serve(request).await,
            Err(refusal) => refusal.into_response(),
        }
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    service: Arc<Service>,
) {
    // Log lines and keystrokes go out at once.
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake timed out"),
    };
    let peer = Arc::new(peer(&stream));
    let answer = service_fn(move |request| {
        let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
        async move { Ok::<_, std::convert::Infallible>(service.serve(request, &peer).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEAD as u32)
        .keep_alive_interval(Some(Duration::from_secs(30)));
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), answer)
        .await
    {
        tracing::debug!(%address, %error, "connection ended");
    }
}

fn peer(stream: &TlsStream<TcpStream>) -> Peer {
    let (_, session) = stream.get_ref();
    let certificates = session.peer_certificates().unwrap_or_default();
    Peer {
        certificates: certificates
            .iter()
            .map(|der| der.as_ref().to_vec())
            .collect(),
    }
}

#[cfg(test)]
mod tests;
