//! A port, with TLS or without, and what protects whoever serves on it.
//!
//! Bounds: connections at once, time for the handshake and for the head of a request, size of the head.

use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};

use base::{
    TaskGroup,
    tls::{ServingCertificate, TlsError, TlsVersion},
};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::answer::Body;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(32);
const MAX_HEAD: usize = 64 << 10;

/// What the connection says about its peer.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The client certificates in DER, leaf first; possession is checked, trust is not.
    pub certificates: Vec<Vec<u8>>,
}

/// Answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Whatever goes wrong is an answer.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: &Peer,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A port that is taken but not served yet, so that one that is not free is known before anything else starts.
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
}

impl Listener {
    /// With TLS of this version at least.
    pub async fn tls(
        address: SocketAddr,
        certificate: &Arc<ServingCertificate>,
        minimum: TlsVersion,
    ) -> Result<Self, ListenError> {
        let config = certificate.server_config_since(minimum)?;
        Self::bind(address, Some(TlsAcceptor::from(config))).await
    }

    /// In plain HTTP.
    pub async fn plain(address: SocketAddr) -> Result<Self, ListenError> {
        Self::bind(address, None).await
    }

    async fn bind(address: SocketAddr, acceptor: Option<TlsAcceptor>) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { address, source };
        let listener = base::listen(address).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        Ok(Self {
            address: SocketAddr::new(address.ip(), port),
            listener,
            acceptor,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the group is cancelled; connections are tasks of it.
    pub async fn serve<H: Handler>(self, handler: Arc<H>, tasks: &TaskGroup) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let accepting = async {
            loop {
                // The semaphore is never closed.
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
                    return;
                };
                let (stream, address) = match self.listener.accept().await {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        // Out of descriptors, mostly: wait for connections to end.
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                };
                let (acceptor, handler) = (self.acceptor.clone(), Arc::clone(&handler));
                tasks.spawn_cancellable("connection", async move {
                    let _slot = slot;
                    accepted(stream, address, acceptor, handler).await;
                });
            }
        };
        let _ = tasks.token().run_until_cancelled(accepting).await;
    }
}

async fn accepted<H: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    handler: Arc<H>,
) {
    // Log lines and keystrokes go out at once.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = acceptor else {
        return connection(stream, address, Peer::default(), handler).await;
    };
    let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%address, "TLS handshake timed out"),
    };
    let peer = peer(&stream);
    connection(stream, address, peer, handler).await;
}

async fn connection<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: SocketAddr,
    peer: Peer,
    handler: Arc<H>,
) {
    let peer = Arc::new(peer);
    let answer = service_fn(move |request| {
        let (handler, peer) = (Arc::clone(&handler), Arc::clone(&peer));
        async move { Ok::<_, std::convert::Infallible>(handler.handle(request, &peer).await) }
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
