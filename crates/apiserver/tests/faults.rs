//! Clients that do harm, and a server that stops: bodies without end, floods of headers, readers that never read, watchers by the thousand. What they may
//! cost is bounded, and others are served.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use apiserver::{Body, Config, Dependencies, Server, authn::Peer, authz::Mode};
use base::{
    Clock, TaskGroup,
    tls::{ServingCertificate, Trust, client_config},
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

/// Whatever is waited for comes before this.
const PATIENCE: Duration = Duration::from_secs(60);

struct Fixture {
    server: Server,
    cancel: CancellationToken,
    store: TaskGroup,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let settings = etcd::embedded::Config::new(dir.path());
        let kv = etcd::Embedded::open(settings, clock.clone(), &store).unwrap();
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let serving = ServingCertificate::from_pem(
            issued.cert.pem().as_bytes(),
            issued.signing_key.serialize_pem().as_bytes(),
        );
        let mut config = Config::new(Arc::new(serving.unwrap()));
        config.bind_address = "127.0.0.1".parse().unwrap();
        config.secure_port = 0;
        config.authorization_modes = vec![Mode::AlwaysAllow];
        change(&mut config);
        let cancel = CancellationToken::new();
        let deps = Dependencies {
            kv,
            clock,
            connector: None,
        };
        let server = Server::start(config, deps, &cancel).await.unwrap();
        tokio::time::timeout(PATIENCE, server.wait_ready())
            .await
            .unwrap();
        Self {
            server,
            cancel,
            store,
            _dir: dir,
        }
    }

    async fn stop(self) {
        self.cancel.cancel();
        tokio::time::timeout(PATIENCE, self.server.wait())
            .await
            .unwrap();
        self.store.shutdown().await;
    }

    async fn call(&self, method: Method, path: &str, body: Body) -> Response<Body> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json");
        let request = request.body(body).unwrap();
        self.server.call(request, Peer::default()).await
    }

    async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        let response = self.call(Method::GET, path, Body::Empty).await;
        let status = response.status();
        (
            status,
            response.into_body().collect().await.unwrap().to_bytes(),
        )
    }

    async fn create_config_map(&self, name: &str, bytes: usize) -> StatusCode {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "x".repeat(bytes)},
        });
        let path = "/api/v1/namespaces/default/configmaps";
        let body = Body::from(object.to_string());
        self.call(Method::POST, path, body).await.status()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let config = client_config(Trust::Anything, None).unwrap();
        let stream = TcpStream::connect(self.server.address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        connector.connect(name, stream).await.unwrap()
    }
}

/// The head of an answer over HTTP/1.1.
async fn head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.windows(4).any(|window| window == b"\r\n\r\n") {
            let mut chunk = [0; 1024];
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => head.extend_from_slice(&chunk[..read]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    String::from_utf8_lossy(&head).into_owned()
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    let kilobytes: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    kilobytes * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_refused_at_three_megabytes() {
    let fixture = Fixture::start(|_| {}).await;
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pulled);
    let chunk = Bytes::from(vec![b' '; 1 << 20]);
    let chunks = futures_util::stream::repeat(chunk).map(move |chunk| {
        counter.fetch_add(1, SeqCst);
        Ok(chunk)
    });
    let path = "/api/v1/namespaces/default/configmaps";
    let response = fixture.call(Method::POST, path, Body::stream(chunks)).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let body: Value =
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["reason"], "RequestEntityTooLarge");
    assert!(pulled.load(SeqCst) <= 5, "{pulled:?} MB were taken");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_refused() {
    let fixture = Fixture::start(|_| {}).await;
    let mut stream = fixture.connect().await;
    stream
        .write_all(b"GET /version HTTP/1.1\r\nhost: localhost\r\n")
        .await
        .unwrap();
    let line = format!("x-flood: {}\r\n", "x".repeat(8000));
    let mut refused = false;
    for _ in 0..1000 {
        // The server hangs up somewhere in between.
        if stream.write_all(line.as_bytes()).await.is_err() {
            refused = true;
            break;
        }
    }
    let head = head(&mut stream).await;
    assert!(refused || head.starts_with("HTTP/1.1 431"), "{head}");
    // Many small ones are fine.
    let mut stream = fixture.connect().await;
    let many: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
    let request = format!("GET /version HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = self::head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_watchers_that_never_read_cost_little_and_slow_nobody() {
    const WATCHERS: usize = 10_000;
    let fixture = Fixture::start(|_| {}).await;
    fixture.create_config_map("first", 10).await;
    let before = resident_bytes();
    let path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0";
    let mut watches = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let response = fixture.call(Method::GET, path, Body::Empty).await;
        assert_eq!(response.status(), StatusCode::OK);
        watches.push(response.into_body());
    }
    let each = resident_bytes().saturating_sub(before) / WATCHERS;
    let start = Instant::now();
    for index in 0..100 {
        let status = fixture.create_config_map(&format!("c{index}"), 4096).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let wrote = start.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    println!("{each} bytes a watcher, 100 writes in {wrote:?}, {grown} bytes in all");
    assert!(grown < WATCHERS * (16 << 10), "{grown} bytes");
    assert!(wrote < PATIENCE, "{wrote:?}");
    drop(watches);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_never_read_gives_its_seats_back() {
    let fixture = Fixture::start(|config| config.request_timeout = Duration::from_secs(2)).await;
    for index in 0..20 {
        fixture
            .create_config_map(&format!("c{index}"), 500_000)
            .await;
    }
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = fixture.connect().await;
        let request = "GET /api/v1/configmaps HTTP/1.1\r\nhost: localhost\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = head(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        streams.push(stream);
    }
    let executing = |metrics: &str| -> f64 {
        let lines = metrics.lines();
        let samples =
            lines.filter(|l| l.starts_with("apiserver_flowcontrol_current_executing_requests{"));
        samples
            .filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    };
    let given_back = async {
        loop {
            let (_, metrics) = fixture.get("/metrics").await;
            // The one that asks is counted itself.
            if executing(std::str::from_utf8(&metrics).unwrap()) <= 1.0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, given_back).await.unwrap();
    drop(streams);
    fixture.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_so_first_and_answers_until_then() {
    let fixture = Fixture::start(|config| config.shutdown.delay = Duration::from_secs(1)).await;
    let watch = "/api/v1/configmaps?watch=1&resourceVersion=0";
    let watch = fixture
        .call(Method::GET, watch, Body::Empty)
        .await
        .into_body();
    assert_eq!(fixture.get("/readyz").await.0, StatusCode::OK);
    fixture.cancel.cancel();
    let (code, body) = fixture.get("/readyz").await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    let text = String::from_utf8_lossy(&body).into_owned();
    assert!(
        text.contains("[-]shutdown failed: reason withheld"),
        "{text}"
    );
    assert_eq!(fixture.get("/livez").await.0, StatusCode::OK);
    assert_eq!(
        fixture.create_config_map("late", 1).await,
        StatusCode::CREATED
    );
    // Who connects now is still served.
    let mut stream = fixture.connect().await;
    let request = "GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
    // Watches end by themselves, and then the server.
    tokio::time::timeout(PATIENCE, watch.collect())
        .await
        .unwrap()
        .unwrap();
    fixture.stop().await;
}
