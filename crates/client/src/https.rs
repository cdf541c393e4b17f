//! The HTTPS transport: hyper over rustls, HTTP/2 where the server offers it.
//!
//! Connections are kept and shared: an HTTP/2 connection carries as many requests as its peer allows, then another is opened (many
//! watches are long-lived, so waiting for a free stream would wait for ever); an HTTP/1.1 connection carries one at a time.
//! Certificates are read again at each new connection and token files once a minute, so that rotated credentials are taken up.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::TlsConnector;
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use crate::{
    config::{Auth, Config},
    error::{BoxError, TransportError},
    tls,
    transport::{Body, Transport, Upgraded},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// HTTP/2 health check as client-go's: a ping after so long without a frame …
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// … and the connection is dead without an answer for so long.
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Idle HTTP/1.1 connections kept; more are closed.
const MAX_IDLE: usize = 25;
const TOKEN_PERIOD: Duration = Duration::from_secs(60);

type RequestBody = Full<Bytes>;

/// A transport to one server.
pub struct Https {
    config: Config,
    host: String,
    port: u16,
    prefix: String,
    plain: bool,
    pool: Arc<Mutex<Pool>>,
    token: Mutex<Option<(HeaderValue, Instant)>>,
    /// Connection drivers; they end with their connections.
    drivers: TaskTracker,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Http1>,
    shared: Vec<Http2>,
}

struct Http1 {
    sender: http1::SendRequest<RequestBody>,
    _driver: AbortOnDropHandle<()>,
}

struct Http2 {
    sender: http2::SendRequest<RequestBody>,
    /// Its strong count less one is the number of streams in use.
    in_use: Arc<()>,
    _driver: AbortOnDropHandle<()>,
}

/// Opened, not pooled yet.
enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// Streams on one HTTP/2 connection before another is opened; the common server limit is 100 and more.
const MAX_STREAMS: usize = 95;

impl Https {
    /// Checks the configuration; connects at the first request.
    pub fn new(config: Config) -> Result<Self, TransportError> {
        let invalid = |reason: &str| {
            TransportError::Http(
                format!("invalid server address {:?}: {reason}", config.server).into(),
            )
        };
        let uri: Uri = config.server.parse().map_err(|_| invalid("not a URL"))?;
        let plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") => true,
            _ => return Err(invalid("the scheme must be https or http")),
        };
        let host = uri
            .host()
            .ok_or_else(|| invalid("no host"))?
            .trim_matches(['[', ']'])
            .to_owned();
        let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
        let prefix = uri.path().trim_end_matches('/').to_owned();
        if !plain {
            // Errors in the credentials are better found at start than at the first request.
            tls::client_config(&config.tls).map_err(TransportError::Credentials)?;
        }
        Ok(Self {
            config,
            host,
            port,
            prefix,
            plain,
            pool: Arc::default(),
            token: Mutex::default(),
            drivers: TaskTracker::new(),
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// The `Authorization` header as it is now.
    fn authorization(&self) -> Result<Option<HeaderValue>, TransportError> {
        match &self.config.auth {
            Auth::None => Ok(None),
            Auth::Token(token) => bearer(token).map(Some),
            Auth::TokenFile(path) => {
                let mut cached = self.token.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some((value, read)) = &*cached
                    && read.elapsed() < TOKEN_PERIOD
                {
                    return Ok(Some(value.clone()));
                }
                match std::fs::read_to_string(path) {
                    Ok(token) => {
                        let value = bearer(token.trim())?;
                        *cached = Some((value.clone(), Instant::now()));
                        Ok(Some(value))
                    }
                    // A token that cannot be read again may still be good.
                    Err(error) => match &*cached {
                        Some((value, _)) => Ok(Some(value.clone())),
                        None => Err(TransportError::Credentials(
                            format!("{}: {error}", path.display()).into(),
                        )),
                    },
                }
            }
        }
    }

    async fn connect(&self, http1_only: bool) -> Result<Connection, TransportError> {
        let attempt = async {
            let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            stream.set_nodelay(true)?;
            if self.plain {
                return self.http1(TokioIo::new(stream)).await;
            }
            let mut config = tls::client_config(&self.config.tls)?;
            if http1_only {
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
            }
            let name = self
                .config
                .tls
                .server_name
                .clone()
                .unwrap_or_else(|| self.host.clone());
            let name = rustls::pki_types::ServerName::try_from(name)?;
            let stream = TlsConnector::from(Arc::new(config))
                .connect(name, stream)
                .await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            if http2 {
                self.http2(TokioIo::new(stream)).await
            } else {
                self.http1(TokioIo::new(stream)).await
            }
        };
        let result = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        };
        result.map_err(|source: BoxError| TransportError::Connect {
            host: self.authority(),
            source,
        })
    }

    async fn http1<I>(&self, io: I) -> Result<Connection, BoxError>
    where
        I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(io).await?;
        let driver = self.drivers.spawn(async move {
            // The error of a broken connection reaches the request that was on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(Connection::Http1(Http1 {
            sender,
            _driver: AbortOnDropHandle::new(driver),
        }))
    }

    async fn http2<I>(&self, io: I) -> Result<Connection, BoxError>
    where
        I: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .adaptive_window(true)
            .handshake(io)
            .await?;
        let driver = self.drivers.spawn(async move {
            let _ = connection.await;
        });
        Ok(Connection::Http2(Http2 {
            sender,
            in_use: Arc::new(()),
            _driver: AbortOnDropHandle::new(driver),
        }))
    }

    /// A free kept connection, if there is one; whether it was kept tells whether a failure may be due to its age.
    fn kept(&self) -> Option<Lease> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.shared
            .retain(|connection| !connection.sender.is_closed());
        if let Some(connection) = pool
            .shared
            .iter()
            .find(|c| Arc::strong_count(&c.in_use) <= MAX_STREAMS)
        {
            return Some(Lease::Http2(
                connection.sender.clone(),
                connection.in_use.clone(),
            ));
        }
        while let Some(connection) = pool.idle.pop() {
            if connection.sender.is_ready() {
                return Some(Lease::Http1(connection));
            }
        }
        None
    }

    async fn lease(&self) -> Result<Lease, TransportError> {
        Ok(match self.connect(false).await? {
            Connection::Http1(connection) => Lease::Http1(connection),
            Connection::Http2(connection) => {
                let lease = Lease::Http2(connection.sender.clone(), connection.in_use.clone());
                self.pool
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .shared
                    .push(connection);
                lease
            }
        })
    }

    /// Adds what the connection needs: credentials, and the address in the form that the protocol version wants.
    fn address(
        &self,
        request: Request<Bytes>,
        absolute: bool,
    ) -> Result<Request<RequestBody>, TransportError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = format!("{}{path}", self.prefix);
        let authority = self.authority();
        parts.uri = if absolute {
            let scheme = if self.plain { "http" } else { "https" };
            Uri::builder()
                .scheme(scheme)
                .authority(authority)
                .path_and_query(path)
                .build()
        } else {
            let host = HeaderValue::from_str(&authority)
                .map_err(|error| TransportError::Http(error.into()))?;
            parts.headers.insert(header::HOST, host);
            Uri::builder().path_and_query(path).build()
        }
        .map_err(|error| TransportError::Http(error.into()))?;
        if let Some(value) = self.authorization()? {
            parts.headers.insert(header::AUTHORIZATION, value);
        }
        Ok(Request::from_parts(parts, Full::new(body)))
    }

    async fn send_on(
        &self,
        lease: Lease,
        request: Request<Bytes>,
    ) -> Result<Response<Body>, TransportError> {
        let http = |error: hyper::Error| TransportError::Http(error.into());
        match lease {
            Lease::Http2(mut sender, in_use) => {
                let request = self.address(request, true)?;
                sender.ready().await.map_err(http)?;
                let response = sender.send_request(request).await.map_err(http)?;
                Ok(response.map(|body| hold(body, in_use)))
            }
            Lease::Http1(mut connection) => {
                let request = self.address(request, false)?;
                let response = connection
                    .sender
                    .send_request(request)
                    .await
                    .map_err(http)?;
                let keep = Kept {
                    connection: Some(connection),
                    pool: self.pool.clone(),
                };
                Ok(response.map(|body| hold(body, keep)))
            }
        }
    }
}

/// The right to send one request.
enum Lease {
    Http1(Http1),
    Http2(http2::SendRequest<RequestBody>, Arc<()>),
}

/// Returns an HTTP/1.1 connection to the pool after its answer. If the answer was abandoned midway, hyper closes the
/// connection, and the pool finds it closed when it is next wanted.
struct Kept {
    connection: Option<Http1>,
    pool: Arc<Mutex<Pool>>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take()
            && !connection.sender.is_closed()
        {
            let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if pool.idle.len() < MAX_IDLE {
                pool.idle.push(connection);
            }
        }
    }
}

/// Ties `guard` to the body's life.
fn hold<G: Send + Sync + 'static>(body: hyper::body::Incoming, guard: G) -> Body {
    Body::new(body.map_err(BoxError::from).map_frame(move |frame| {
        let _held = &guard;
        frame
    }))
}

fn bearer(token: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .map_err(|_| TransportError::Credentials("the token is not a header value".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[async_trait]
impl Transport for Https {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        if let Some(lease) = self.kept() {
            let again = request.clone();
            match self.send_on(lease, request).await {
                // A kept connection may have been closed by the server in the meantime. What only reads may be sent again.
                Err(TransportError::Http(_)) if again.method().is_safe() => {
                    return self.send_on(self.lease().await?, again).await;
                }
                result => return result,
            }
        }
        self.send_on(self.lease().await?, request).await
    }

    async fn upgrade(&self, request: Request<Bytes>) -> Result<Upgraded, TransportError> {
        let Connection::Http1(mut connection) = self.connect(true).await? else {
            return Err(TransportError::Unsupported("an upgrade over HTTP/2"));
        };
        let http = |error: hyper::Error| TransportError::Http(error.into());
        let request = self.address(request, false)?;
        let mut response = connection
            .sender
            .send_request(request)
            .await
            .map_err(http)?;
        if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Upgraded::Refused(
                response.map(|body| hold(body, connection)),
            ));
        }
        let stream = hyper::upgrade::on(&mut response).await.map_err(http)?;
        Ok(Upgraded::Switched(
            response.map(drop),
            Box::new(TokioIo::new(stream)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use base::TaskGroup;
    use hyper::{body::Incoming, service::service_fn};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;

    /// Answers with the `Authorization` it got; echoes after an upgrade.
    async fn answer(
        mut request: Request<Incoming>,
        tasks: TaskGroup,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.headers().contains_key(header::UPGRADE) {
            tasks.spawn_cancellable("echo", async move {
                let stream = hyper::upgrade::on(&mut request).await.unwrap();
                let (mut read, mut write) = tokio::io::split(TokioIo::new(stream));
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
            let switching = Response::builder()
                .status(101)
                .header(header::UPGRADE, "echo");
            return Ok(switching
                .header(header::CONNECTION, "upgrade")
                .body(Full::default())
                .unwrap());
        }
        let token = request
            .headers()
            .get(header::AUTHORIZATION)
            .map(|value| value.as_bytes().to_vec());
        Ok(Response::new(Full::from(token.unwrap_or_default())))
    }

    /// A server of HTTP/1.1 without TLS; how many connections it saw.
    async fn serve(tasks: &TaskGroup) -> (u16, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let (seen, group) = (connections.clone(), tasks.clone());
        tasks.spawn_cancellable("server", async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.fetch_add(1, Ordering::SeqCst);
                let tasks = group.clone();
                let service = service_fn(move |request| answer(request, tasks.clone()));
                group.spawn_cancellable("connection", async move {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ = server
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        (port, connections)
    }

    async fn get(https: &Https) -> String {
        let response = https
            .send(Request::get("/").body(Bytes::new()).unwrap())
            .await
            .unwrap();
        String::from_utf8(
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
        .unwrap()
    }

    #[tokio::test]
    async fn connections_are_kept_and_tokens_read() {
        let tasks = TaskGroup::new(&CancellationToken::new());
        let (port, connections) = serve(&tasks).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first\n").unwrap();
        let auth = Auth::TokenFile(file.path().to_owned());
        let https = Https::new(Config {
            server: format!("http://127.0.0.1:{port}"),
            auth,
            ..Config::default()
        })
        .unwrap();
        for _ in 0..3 {
            assert_eq!(get(&https).await, "Bearer first");
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
        // A rotated token is taken up when the old one is a minute old; one that cannot be read any longer is kept.
        std::fs::write(file.path(), "second").unwrap();
        tokio::time::pause();
        tokio::time::advance(TOKEN_PERIOD).await;
        tokio::time::resume();
        assert_eq!(get(&https).await, "Bearer second");
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn an_upgrade_gives_the_raw_stream() {
        let tasks = TaskGroup::new(&CancellationToken::new());
        let (port, _) = serve(&tasks).await;
        let https = Https::new(Config {
            server: format!("http://127.0.0.1:{port}"),
            ..Config::default()
        })
        .unwrap();
        let request = || Request::get("/exec").header(header::CONNECTION, "upgrade");
        let upgraded = https
            .upgrade(
                request()
                    .header(header::UPGRADE, "echo")
                    .body(Bytes::new())
                    .unwrap(),
            )
            .await;
        let Upgraded::Switched(_, mut stream) = upgraded.unwrap() else {
            panic!("refused")
        };
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
        let refused = https
            .upgrade(Request::get("/").body(Bytes::new()).unwrap())
            .await
            .unwrap();
        assert!(matches!(refused, Upgraded::Refused(response) if response.status() == 200));
        tasks.shutdown().await;
    }

    #[tokio::test]
    async fn nobody_there_is_a_clear_error() {
        let https = Https::new(Config {
            server: "http://127.0.0.1:1".to_owned(),
            ..Config::default()
        })
        .unwrap();
        let error = https
            .send(Request::get("/").body(Bytes::new()).unwrap())
            .await
            .err()
            .unwrap();
        assert!(
            matches!(&error, TransportError::Connect { host, .. } if host == "127.0.0.1:1"),
            "{error}"
        );
        assert!(
            Https::new(Config {
                server: "127.0.0.1:6443".to_owned(),
                ..Config::default()
            })
            .is_err()
        );
    }
}
