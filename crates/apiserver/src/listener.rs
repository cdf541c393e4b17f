//! Connections: accepted, bounded, wrapped in TLS, and read as HTTP/2 or HTTP/1.1 into the pipeline.
//!
//! Bounds: connections at once, time for the handshake and for the request's head, size of the head, streams of a connection. At
//! shutdown the listener closes first, connections finish what they are doing, and what is left after [`GRACE`] is cut.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use base::TaskGroup;
use http::Request;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

use crate::{authn::Peer, body::Body, pipeline::Pipeline};

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 16_384;
/// Time for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the head of a request over HTTP/1.1.
const HEAD_TIMEOUT: Duration = Duration::from_secs(32);
/// Size of a request's head.
const MAX_HEAD: usize = 1 << 20;
/// Requests at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 1000;
/// How long connections may take to finish at shutdown.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Accepts until cancelled; returns when all connections have ended.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    pipeline: Arc<Pipeline>,
    cancel: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = TaskGroup::new(&CancellationToken::new());
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
            let (acceptor, pipeline) = (acceptor.clone(), Arc::clone(&pipeline));
            let finish = connections.token().clone();
            connections.spawn("connection", async move {
                let _slot = slot;
                connection(stream, address, acceptor, pipeline, finish).await;
            });
        }
    };
    let _ = cancel.run_until_cancelled(accepting).await;
    drop(listener);
    connections.shutdown().await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
    pipeline: Arc<Pipeline>,
    finish: CancellationToken,
) {
    // Small writes (watch events) go out at once.
    let _ = stream.set_nodelay(true);
    let stream = tokio::select! {
        () = finish.cancelled() => return,
        accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)) => match accepted {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%address, %error, "TLS handshake failed"),
            Err(_) => return tracing::debug!(%address, "TLS handshake timed out"),
        },
    };
    let peer = peer(&stream, address);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (pipeline, peer) = (Arc::clone(&pipeline), peer.clone());
        async move {
            Ok::<_, std::convert::Infallible>(pipeline.serve(request.map(Body::from), peer).await)
        }
    });
    let builder = http_builder();
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let result = tokio::select! {
        result = serving.as_mut() => result,
        () = finish.cancelled() => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, serving).await {
                Ok(result) => result,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = result {
        tracing::debug!(%address, %error, "connection ended");
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

fn peer(stream: &TlsStream<TcpStream>, address: SocketAddr) -> Peer {
    let (_, session) = stream.get_ref();
    let certificates = session
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.as_ref().to_vec())
        .collect();
    Peer {
        certificates,
        address: Some(address),
    }
}
