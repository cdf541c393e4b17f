//! Real calls over TLS on loopback.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base::TaskGroup;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::StatusCode;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Call, ClientConfig, WebhookClients,
    test_server::{Called, TestServer},
};
use crate::memory_reader::MemoryReader;

const SECOND: Duration = Duration::from_secs(1);

fn clients(reader: Arc<MemoryReader>) -> WebhookClients {
    WebhookClients::new(reader, TaskGroup::new(&CancellationToken::new()))
}

fn config(value: serde_json::Value) -> ClientConfig {
    ClientConfig::from_object(value.as_object().unwrap()).unwrap()
}

async fn echo() -> TestServer {
    TestServer::start(&["127.0.0.1", "hook.shop.svc"], |called: Called| {
        async move {
            match called.head.uri.path() {
                "/echo" => (StatusCode::OK, called.body),
                "/query" => (StatusCode::OK, Bytes::from(called.head.uri.query().unwrap_or_default().to_owned())),
                "/version" => (StatusCode::OK, Bytes::from(format!("{:?}", called.head.version))),
                "/big" => (StatusCode::OK, Bytes::from(vec![b' '; 1 << 20])),
                "/hang" => std::future::pending().await,
                "/status" => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": 403});
                    (StatusCode::FORBIDDEN, Bytes::from(status.to_string()))
                }
                "/fail" => (StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"broken\n")),
                _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"404 page not found\n")),
            }
        }
        .boxed()
    })
    .await
}

#[tokio::test]
async fn answers_and_refusals_of_a_webhook() {
    let server = echo().await;
    let clients = clients(MemoryReader::with([]));
    let post = async |path: &str, call: Call| {
        let config = config(json!({"url": server.url(path), "caBundle": server.ca_bundle()}));
        let client = clients.client(&config).unwrap();
        client
            .post(Bytes::from_static(b"{}"), call)
            .await
            .map_err(|e| e.to_string())
    };
    let call = Call::within(SECOND * 10);
    assert_eq!(post("/echo", call).await.unwrap(), "{}");
    assert_eq!(post("/query", call).await.unwrap(), "");
    let announced = Call {
        announce_timeout: true,
        ..call
    };
    assert_eq!(post("/query", announced).await.unwrap(), "timeout=10s");
    assert_eq!(post("/version", call).await.unwrap(), "HTTP/2.0");
    assert_eq!(post("/status", call).await.unwrap_err(), "no");
    assert_eq!(
        post("/fail", call).await.unwrap_err(),
        "an error on the server (\"broken\") has prevented the request from succeeding"
    );
    assert_eq!(
        post("/none", call).await.unwrap_err(),
        "the server could not find the requested resource"
    );
    let url = server.url("/big");
    let small = Call {
        max_answer_bytes: 1000,
        ..call
    };
    assert_eq!(
        post("/big", small).await.unwrap_err(),
        format!("Post \"{url}\": answer is larger than 1000 bytes")
    );
    let url = server.url("/hang");
    let brief = Call {
        announce_timeout: true,
        ..Call::within(Duration::from_millis(50))
    };
    assert_eq!(
        post("/hang", brief).await.unwrap_err(),
        format!("Post \"{url}?timeout=50ms\": context deadline exceeded")
    );
}

#[tokio::test]
async fn a_service_is_called_at_its_cluster_ip_by_its_name() {
    let server = echo().await;
    let port = server.address.port();
    let service = json!({
        "metadata": {"namespace": "shop", "name": "hook"},
        "spec": {"type": "ClusterIP", "clusterIP": "127.0.0.1", "ports": [{"port": port}]},
    });
    let other = json!({
        "metadata": {"namespace": "shop", "name": "other"},
        "spec": {"type": "ClusterIP", "clusterIP": "127.0.0.1", "ports": [{"port": port}]},
    });
    let clients = clients(MemoryReader::with([
        ("services", service),
        ("services", other),
    ]));
    let of = |name: &str, path: &str| {
        config(json!({
            "service": {"namespace": "shop", "name": name, "path": path, "port": port},
            "caBundle": server.ca_bundle(),
        }))
    };
    let client = clients.client(&of("hook", "/version")).unwrap();
    let call = Call::within(SECOND * 10);
    for _ in 0..5 {
        let answer = client.post(Bytes::new(), call).await.unwrap();
        assert_eq!(answer, "HTTP/1.1", "services are not called over HTTP/2");
    }
    let connections: BTreeSet<_> = server.peers.lock().unwrap().iter().copied().collect();
    assert_eq!(connections.len(), 1, "the connection is kept");
    let same = clients.client(&of("hook", "/version")).unwrap();
    assert!(
        Arc::ptr_eq(&client, &same),
        "equal configurations share a client"
    );

    let error = |name: &str| {
        let client = clients.client(&of(name, "/echo")).unwrap();
        async move {
            client
                .post(Bytes::new(), call)
                .await
                .unwrap_err()
                .to_string()
        }
    };
    assert_eq!(
        error("absent").await,
        format!("Post \"https://absent.shop.svc:{port}/echo\": service \"absent\" not found")
    );
    assert_eq!(
        error("other").await,
        format!(
            "Post \"https://other.shop.svc:{port}/echo\": tls: failed to verify certificate: x509: certificate is valid for 127.0.0.1, hook.shop.svc, not other.shop.svc"
        )
    );
}

#[tokio::test]
async fn who_cannot_be_reached_or_trusted_is_named_as_go_names_it() {
    let server = echo().await;
    let stranger = echo().await;
    let clients = clients(MemoryReader::with([]));
    let post = async |url: &str| {
        let config = config(json!({"url": url, "caBundle": stranger.ca_bundle()}));
        let client = clients.client(&config).unwrap();
        let error = client
            .post(Bytes::new(), Call::within(SECOND * 10))
            .await
            .unwrap_err();
        error.to_string()
    };
    let url = server.url("/echo");
    assert_eq!(
        post(&url).await,
        format!(
            "Post \"{url}\": tls: failed to verify certificate: x509: certificate signed by unknown authority"
        )
    );
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    assert_eq!(
        post(&format!("https://{address}/x")).await,
        format!("Post \"https://{address}/x\": dial tcp {address}: connect: connection refused")
    );
}

#[tokio::test]
async fn a_connection_closed_meanwhile_is_replaced() {
    let server = echo().await;
    let service = |port: u16| {
        json!({
            "metadata": {"namespace": "shop", "name": "hook"},
            "spec": {"type": "ClusterIP", "clusterIP": "127.0.0.1", "ports": [{"port": port}]},
        })
    };
    let port = server.address.port();
    let clients = clients(MemoryReader::with([("services", service(port))]));
    let config = config(json!({
        "service": {"namespace": "shop", "name": "hook", "path": "/hang", "port": port},
        "caBundle": server.ca_bundle(),
    }));
    let client = clients.client(&config).unwrap();
    for _ in 0..3 {
        let error = client
            .post(Bytes::new(), Call::within(Duration::from_millis(300)))
            .await;
        assert!(error.unwrap_err().is_timeout());
    }
    // On a busy machine a call may run out of time before it is sent; those that were sent came by connections of their own.
    let peers = server.peers.lock().unwrap().clone();
    let connections: BTreeSet<_> = peers.iter().copied().collect();
    assert_eq!(
        connections.len(),
        peers.len(),
        "a connection with an answer outstanding is not used again"
    );
}
