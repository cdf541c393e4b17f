//! Connections: accepted, bounded, wrapped in TLS, and read as HTTP/2 or HTTP/1.1 into the pipeline.
//!
//! Bounds: connections at once, time for the handshake and for the request's head, size of the head, streams of a connection, and how long a client may
//! refuse to take what it is sent ([`StallGuard`]). At shutdown the listener closes first, connections finish what they are doing, and what is left
//! after all requests have been answered and [`GRACE`] is cut.

mod coalesce;
mod congestion;
mod malformed;
mod stall_guard;

use std::{
    future::{Future as _, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use base::{TaskGroup, metrics::CounterSeries};
use http::{Request, Response, Version};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, Semaphore},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{authn::Peer, body::Body, lifecycle::Lifecycle, pipeline::Pipeline};
use coalesce::{Coalesce, Flusher, coalesce};
use congestion::unpaced;
use stall_guard::StallGuard;

/// Connections at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 16_384;
/// Time for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the head of a request over HTTP/1.1.
const HEAD_TIMEOUT: Duration = Duration::from_secs(32);
/// Size of a request's head.
const MAX_HEAD: usize = 1 << 20;
/// Headers of a request over HTTP/1.1.
const MAX_HEADERS: usize = 4096;
/// Requests at once on an HTTP/2 connection.
const MAX_STREAMS: u32 = 1000;
/// What waits on an HTTP/2 stream for a client that takes nothing, beyond one chunk of the body: silent watchers may be many.
const MAX_STREAM_BUFFER: usize = 32 << 10;
/// How long a client may take nothing of what it is sent.
const STALL_TIMEOUT: Duration = Duration::from_secs(300);
/// How long connections may take to finish at shutdown once all requests have been answered.
const GRACE: Duration = Duration::from_secs(5);

/// What connections are served with.
pub(crate) struct Serving {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) lifecycle: Lifecycle,
    /// How long requests that are under way may take at shutdown.
    pub(crate) drain: Duration,
    /// `--goaway-chance`
    pub(crate) goaway_chance: f64,
    /// `apiserver_tls_handshake_errors_total`
    pub(crate) handshake_errors: CounterSeries,
}

/// What a connection needs.
#[derive(Clone)]
struct Shared {
    acceptor: TlsAcceptor,
    pipeline: Arc<Pipeline>,
    goaway_chance: f64,
    handshake_errors: CounterSeries,
    /// Finish what you are doing.
    finish: CancellationToken,
    /// Stop where you are.
    cut: CancellationToken,
}

impl Serving {
    /// Accepts until nothing is to be accepted any more; returns when all connections have ended.
    pub(crate) async fn run(self, listener: TcpListener, tls: Arc<ServerConfig>) {
        let connections = TaskGroup::new(&CancellationToken::new());
        let cut = CancellationToken::new();
        let shared = Shared {
            acceptor: TlsAcceptor::from(tls),
            pipeline: Arc::clone(&self.pipeline),
            goaway_chance: self.goaway_chance,
            handshake_errors: self.handshake_errors.clone(),
            finish: connections.token().clone(),
            cut: cut.clone(),
        };
        let accepting = accept_all(&listener, &connections, &shared);
        let closing = self.lifecycle.not_accepting();
        if self.lifecycle.listens_while_draining() {
            let draining = async {
                closing.cancelled().await;
                self.drain().await;
            };
            tokio::select! {
                () = accepting => {}
                () = draining => {}
            }
            drop(listener);
            connections.token().cancel();
        } else {
            let _ = closing.run_until_cancelled(accepting).await;
            drop(listener);
            connections.token().cancel();
            self.drain().await;
        }
        if tokio::time::timeout(GRACE, connections.wait())
            .await
            .is_err()
        {
            tracing::info!("connections that are still open are cut");
        }
        cut.cancel();
        connections.wait().await;
    }

    /// Waits until everything that was asked has been answered, or the time for it is over.
    async fn drain(&self) {
        let watches = self.lifecycle.watch_grace();
        let drained = async {
            self.pipeline.drained().await;
            tokio::time::sleep(watches).await;
        };
        if tokio::time::timeout(self.drain + watches, drained)
            .await
            .is_err()
        {
            tracing::warn!("requests are still under way at the end of their time");
        }
    }
}

async fn accept_all(listener: &TcpListener, connections: &TaskGroup, shared: &Shared) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
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
        let shared = shared.clone();
        connections.spawn("connection", async move {
            let _slot = slot;
            let cut = shared.cut.clone();
            let _ = cut
                .run_until_cancelled(connection(stream, address, shared))
                .await;
        });
    }
}

/// Serves a connection to its end.
///
/// A connection that is woken stands back once before it goes to work: whatever else is ready at the moment runs first, and what an event gives to
/// ten watches of one client goes out in one record and one system call instead of ten (see [`coalesce`]). One in full flow, that sends a list, does not: its
/// records are full anyhow, and each time would wake another core.
async fn connection(stream: TcpStream, address: SocketAddr, shared: Shared) {
    // Small writes (watch events) go out at once.
    let _ = stream.set_nodelay(true);
    unpaced(&stream, address);
    // Boxed: what a handshake needs would else be part of each connection for as long as it lasts.
    let Some(opened) = Box::pin(handshake(stream, address, &shared)).await else {
        return;
    };
    let Opened {
        stream,
        flusher,
        peer,
    } = opened;
    let go_away = Arc::new(Notify::new());
    let (pipeline, chance, going) = (shared.pipeline, shared.goaway_chance, Arc::clone(&go_away));
    let under_way = TaskTracker::new();
    let begun = under_way.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let (pipeline, peer, going) = (Arc::clone(&pipeline), peer.clone(), Arc::clone(&going));
        let token = begun.token();
        // Boxed: what a request needs would else be part of each stream's task, idle watches' too.
        Box::pin(async move {
            let version = request.version();
            if let Some(refusal) = malformed::refuse(&request) {
                return Ok(refusal);
            }
            let response = pipeline.serve(request.map(Body::from), peer).await;
            drop(token);
            if version == Version::HTTP_2 && (asks_to_close(&response) || happens(chance)) {
                going.notify_one();
            }
            Ok::<_, std::convert::Infallible>(response)
        })
    });
    let builder = http_builder();
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let (mut finishing, mut stood_back) = (false, false);
    let mut either = pin!(either(&shared.finish, &go_away));
    let result = poll_fn(|cx| {
        if !finishing && either.as_mut().poll(cx).is_ready() {
            finishing = true;
            serving.as_mut().graceful_shutdown();
        }
        stood_back = !stood_back && !flusher.is_flowing();
        if stood_back {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let served = serving.as_mut().poll(cx);
        if served.is_ready() {
            flusher.stop_deferring();
        }
        // What is left then is the new owner's to send.
        match flusher.poll(cx, under_way.is_empty()) {
            Poll::Ready(Err(error)) if served.is_pending() => Poll::Ready(Err(error.into())),
            _ => served,
        }
    })
    .await;
    if let Err(error) = result {
        tracing::debug!(%address, %error, "connection ended");
    }
}

/// What HTTP is read from and written to.
type Secured = TlsStream<StallGuard<TcpStream>>;

/// A connection over which requests may come.
struct Opened {
    stream: Coalesce<Secured>,
    flusher: Flusher<Secured>,
    peer: Peer,
}

/// `None` if there is nobody to serve.
async fn handshake(stream: TcpStream, address: SocketAddr, shared: &Shared) -> Option<Opened> {
    let stream = StallGuard::new(stream, STALL_TIMEOUT);
    let accepting = tokio::time::timeout(HANDSHAKE_TIMEOUT, shared.acceptor.accept(stream));
    let accepted = tokio::select! {
        () = shared.finish.cancelled() => return None,
        accepted = accepting => accepted,
    };
    match accepted {
        Ok(Ok(stream)) => {
            let peer = peer(&stream, address);
            let (stream, flusher) = coalesce(stream);
            return Some(Opened {
                stream,
                flusher,
                peer,
            });
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "TLS handshake timed out"),
    }
    shared.handshake_errors.increment();
    None
}

async fn either(finish: &CancellationToken, go_away: &Notify) {
    tokio::select! {
        () = finish.cancelled() => {}
        () = go_away.notified() => {}
    }
}

/// HTTP/2 has no such header: there the connection is told by GOAWAY.
fn asks_to_close(response: &Response<Body>) -> bool {
    response
        .headers()
        .get(http::header::CONNECTION)
        .is_some_and(|value| value == "close")
}

/// Whether something that happens with this probability happens now.
fn happens(chance: f64) -> bool {
    // A random uuid is the randomness at hand; its last 48 bits are free.
    chance > 0.0 && {
        let drawn = uuid::Uuid::new_v4().as_u128() & ((1 << 48) - 1);
        (drawn as f64) < chance * (1u64 << 48) as f64
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD as u32)
        .max_send_buf_size(MAX_STREAM_BUFFER)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

fn peer(stream: &Secured, address: SocketAddr) -> Peer {
    let (_, session) = stream.get_ref();
    let certificates = session
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| certificate.as_ref().to_vec())
        .collect();
    Peer {
        certificates,
        // A socket of both families shows an IPv4 client as ::ffff:10.0.0.1.
        address: Some(SocketAddr::new(address.ip().to_canonical(), address.port())),
    }
}
