//! The kept connections of one webhook.
//!
//! HTTP/1.1: a connection is taken for one call and given back when the answer has been read whole. HTTP/2: one connection carries
//! all calls. A kept connection may have been closed by the other side meanwhile: what could not be sent over it is sent once more,
//! over a new one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use base::TaskGroup;
use bytes::Bytes;
use http::{Request, Response, Uri, Version, uri::PathAndQuery};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{CallError, ClientConfig, ConfigError, MAX_CALLS, connection::Dialer};
use crate::reader::ObjectReader;

/// How many idle connections are kept, and for how long.
const MAX_IDLE: usize = 25;
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

type Body = Full<Bytes>;

/// A connection that calls can be sent over.
pub(super) enum Connection {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

#[derive(Debug)]
pub(super) struct Pool {
    dialer: Dialer,
    kept: Arc<Mutex<Kept>>,
    calls: Arc<Semaphore>,
}

#[derive(Default)]
struct Kept {
    /// The latest last.
    idle: Vec<(http1::SendRequest<Body>, Instant)>,
    shared: Option<http2::SendRequest<Body>>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kept")
            .field("idle", &self.idle.len())
            .finish_non_exhaustive()
    }
}

/// The right to a call, and the connection that it goes over. Dropped without [`Lease::give_back`], the connection is closed: an answer
/// that nobody reads to its end would be read as the beginning of the next.
pub(super) struct Lease {
    kept: Arc<Mutex<Kept>>,
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

impl Lease {
    /// The answer has been read.
    pub(super) fn give_back(self) {
        let Connection::Http1(sender) = self.connection else {
            return;
        };
        if sender.is_closed() {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.idle.len() < MAX_IDLE {
            kept.idle.push((sender, Instant::now()));
        }
    }
}

impl Pool {
    pub(super) fn new(
        config: &ClientConfig,
        url: &Uri,
        reader: Arc<dyn ObjectReader>,
        tasks: TaskGroup,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            dialer: Dialer::new(config, url, reader, tasks)?,
            kept: Arc::default(),
            calls: Arc::new(Semaphore::new(MAX_CALLS)),
        })
    }

    /// Sends a call and waits for the head of its answer.
    pub(super) async fn send(
        &self,
        mut request: Request<Body>,
    ) -> Result<(Response<Incoming>, Lease), CallError> {
        let permit = Arc::clone(&self.calls)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        while let Some(mut connection) = self.take() {
            match connection.send(request).await {
                Ok(response) => return Ok((response, self.lease(connection, permit))),
                // It was closed before the call went out.
                Err((_, Some(unsent))) => request = unsent,
                Err((error, None)) => return Err(CallError::broken(&error)),
            }
        }
        let mut connection = self.dialer.connect().await?;
        if let Connection::Http2(sender) = &connection {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.shared = Some(sender.clone());
        }
        match connection.send(request).await {
            Ok(response) => Ok((response, self.lease(connection, permit))),
            Err((error, _)) => Err(CallError::broken(&error)),
        }
    }

    fn lease(&self, connection: Connection, permit: OwnedSemaphorePermit) -> Lease {
        Lease {
            kept: Arc::clone(&self.kept),
            connection,
            _permit: permit,
        }
    }

    /// A kept connection that is still open.
    fn take(&self) -> Option<Connection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &kept.shared {
            if !shared.is_closed() {
                return Some(Connection::Http2(shared.clone()));
            }
            kept.shared = None;
        }
        let now = Instant::now();
        kept.idle.retain(|(sender, since)| {
            !sender.is_closed() && now.duration_since(*since) < IDLE_TIMEOUT
        });
        kept.idle.pop().map(|(sender, _)| Connection::Http1(sender))
    }
}

impl Connection {
    /// On failure with the request, if nothing of it was sent.
    async fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, (hyper::Error, Option<Request<Body>>)> {
        match self {
            Self::Http1(sender) => {
                // HTTP/1.1 names the host in a header and the path alone in the first line.
                if let Some(authority) = request.uri().authority()
                    && let Ok(host) = http::HeaderValue::from_str(authority.as_str())
                {
                    request.headers_mut().insert(http::header::HOST, host);
                }
                let path = request.uri().path_and_query().cloned();
                let whole = std::mem::replace(
                    request.uri_mut(),
                    Uri::from(path.unwrap_or(PathAndQuery::from_static("/"))),
                );
                sender.try_send_request(request).await.map_err(|mut error| {
                    let unsent = error.take_message().map(|mut request| {
                        *request.uri_mut() = whole;
                        request
                    });
                    (error.into_error(), unsent)
                })
            }
            Self::Http2(sender) => {
                *request.version_mut() = Version::HTTP_2;
                sender.try_send_request(request).await.map_err(|mut error| {
                    let unsent = error.take_message().map(|mut request| {
                        *request.version_mut() = Version::HTTP_11;
                        request
                    });
                    (error.into_error(), unsent)
                })
            }
        }
    }
}
