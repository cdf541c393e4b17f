//! Clients that do harm, and a server that stops: bodies without end, floods of headers, readers that never read, watchers by the thousand. What they may
//! cost is bounded, and others are served.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

mod cluster;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use apiserver::Body;
use base::tls::{Trust, client_config};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use cluster::Cluster;

/// Whatever is waited for comes before this.
const PATIENCE: Duration = Duration::from_secs(60);
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn create_config_map(cluster: &Cluster, name: &str, bytes: usize) -> StatusCode {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "x".repeat(bytes)},
    });
    let created = cluster.json(Method::POST, CONFIG_MAPS, Some(object)).await;
    created.0
}

/// The text of an answer that is no object.
async fn text(cluster: &Cluster, path: &str) -> (StatusCode, String) {
    let response = cluster.call(Method::GET, path, &[], Body::Empty).await;
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&bytes).into_owned())
}

async fn connect(cluster: &Cluster) -> TlsStream<TcpStream> {
    let config = client_config(Trust::Anything, None).unwrap();
    let stream = TcpStream::connect(cluster.server.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, stream).await.unwrap()
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
    let cluster = Cluster::start().await;
    let pulled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&pulled);
    let chunk = Bytes::from(vec![b' '; 1 << 20]);
    let chunks = futures_util::stream::repeat(chunk).map(move |chunk| {
        counter.fetch_add(1, SeqCst);
        Ok(chunk)
    });
    let json = [("content-type", "application/json")];
    let body = Body::stream(chunks);
    let response = cluster.call(Method::POST, CONFIG_MAPS, &json, body).await;
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let body: Value =
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(body["reason"], "RequestEntityTooLarge");
    assert!(pulled.load(SeqCst) <= 5, "{pulled:?} MB were taken");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_come_slowly_keep_nobody_from_a_seat() {
    let cluster = Cluster::start_with(|config| {
        config.max_requests_in_flight = 2;
        config.max_mutating_requests_in_flight = 2;
    })
    .await;
    let json = [("content-type", "application/json")];
    let slow = (0..50).map(async |_| {
        let body = Body::stream(futures_util::stream::pending::<Result<Bytes, _>>());
        cluster.call(Method::POST, CONFIG_MAPS, &json, body).await
    });
    // In this order: the slow ones are all under way when the quick one comes.
    let created = tokio::select! {
        biased;
        answers = futures_util::future::join_all(slow) => panic!("{} answers without a body", answers.len()),
        created = create_config_map(&cluster, "quick", 10) => created,
    };
    assert_eq!(created, StatusCode::CREATED);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_headers_is_refused() {
    let cluster = Cluster::start().await;
    let mut stream = connect(&cluster).await;
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
    let mut stream = connect(&cluster).await;
    let many: String = (0..300).map(|n| format!("x-{n}: y\r\n")).collect();
    let request = format!("GET /version HTTP/1.1\r\nhost: localhost\r\n{many}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = self::head(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_watchers_that_never_read_cost_little_and_slow_nobody() {
    const WATCHERS: usize = 10_000;
    let cluster = Cluster::start().await;
    create_config_map(&cluster, "first", 10).await;
    let before = resident_bytes();
    let path = "/api/v1/namespaces/default/configmaps?watch=1&resourceVersion=0";
    let mut watches = Vec::with_capacity(WATCHERS);
    for _ in 0..WATCHERS {
        let response = cluster.call(Method::GET, path, &[], Body::Empty).await;
        assert_eq!(response.status(), StatusCode::OK);
        watches.push(response.into_body());
    }
    let each = resident_bytes().saturating_sub(before) / WATCHERS;
    let start = Instant::now();
    for index in 0..100 {
        let status = create_config_map(&cluster, &format!("c{index}"), 4096).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    let wrote = start.elapsed();
    let grown = resident_bytes().saturating_sub(before);
    println!("{each} bytes a watcher, 100 writes in {wrote:?}, {grown} bytes in all");
    assert!(grown < WATCHERS * (16 << 10), "{grown} bytes");
    assert!(wrote < PATIENCE, "{wrote:?}");
    drop(watches);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_never_read_gives_its_seats_back() {
    let cluster =
        Cluster::start_with(|config| config.request_timeout = Duration::from_secs(2)).await;
    for index in 0..20 {
        create_config_map(&cluster, &format!("c{index}"), 500_000).await;
    }
    let mut streams = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(&cluster).await;
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
            let (_, metrics) = text(&cluster, "/metrics").await;
            // The one that asks is counted itself.
            if executing(&metrics) <= 1.0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, given_back).await.unwrap();
    drop(streams);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_says_so_first_and_answers_until_then() {
    let cluster =
        Cluster::start_with(|config| config.shutdown.delay = Duration::from_secs(1)).await;
    let watch = "/api/v1/configmaps?watch=1&resourceVersion=0";
    let watch = cluster.call(Method::GET, watch, &[], Body::Empty).await;
    assert_eq!(cluster.get("/readyz").await.0, StatusCode::OK);
    cluster.cancel.cancel();
    let (code, said) = text(&cluster, "/readyz").await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(
        said.contains("[-]shutdown failed: reason withheld"),
        "{said}"
    );
    assert_eq!(cluster.get("/livez").await.0, StatusCode::OK);
    assert_eq!(
        create_config_map(&cluster, "late", 1).await,
        StatusCode::CREATED
    );
    // Who connects now is still served.
    let mut stream = connect(&cluster).await;
    let request = "GET /version HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 200"));
    // Watches end by themselves, and then the server.
    tokio::time::timeout(PATIENCE, watch.into_body().collect())
        .await
        .unwrap()
        .unwrap();
    cluster.stop().await;
}
