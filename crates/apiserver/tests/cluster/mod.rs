//! A whole server in this process, on a store of its own, without a connection.

#![allow(dead_code, reason = "each test binary uses what it needs of it")]

use std::{sync::Arc, time::Duration};

use apiserver::{Body, Config, Dependencies, Server, authn::Peer, authz::Mode};
use base::{Clock, TaskGroup, tls::ServingCertificate};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Whether the store is a real etcd.
const ON_ETCD: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"registry_on_etcd");

/// A server on a store of its own.
pub struct Cluster {
    server: Server,
    cancel: CancellationToken,
    store: TaskGroup,
    _etcd: Option<etcd::testing::EtcdProcess>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let etcd = ON_ETCD.then(|| etcd::testing::EtcdProcess::start_quiet(dir.path()));
        let kv: Arc<dyn etcd::Kv> = match &etcd {
            Some(process) => {
                let config = etcd::remote::Config::new([process.endpoint()]);
                etcd::Remote::connect(config, &store).await.unwrap()
            }
            None => {
                let config = etcd::embedded::Config::new(dir.path());
                etcd::Embedded::open(config, clock.clone(), &store).unwrap()
            }
        };
        let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let serving = ServingCertificate::from_pem(
            issued.cert.pem().as_bytes(),
            issued.signing_key.serialize_pem().as_bytes(),
        )
        .unwrap();
        let mut config = Config::new(Arc::new(serving));
        config.bind_address = "127.0.0.1".parse().unwrap();
        config.secure_port = 0;
        config.authorization_modes = vec![Mode::AlwaysAllow];
        config.service_cluster_ip_ranges = vec!["10.96.0.0/16".to_owned()];
        let cancel = CancellationToken::new();
        let deps = Dependencies {
            kv,
            clock,
            connector: None,
        };
        let server = Server::start(config, deps, &cancel).await.unwrap();
        let cluster = Self {
            server,
            cancel,
            store,
            _etcd: etcd,
            _dir: dir,
        };
        let ready = async {
            while cluster.get("/readyz").await.0 != StatusCode::OK {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready)
            .await
            .expect("the server gets ready");
        cluster
    }

    pub async fn stop(self) {
        self.cancel.cancel();
        self.server.wait().await;
        self.store.shutdown().await;
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Option<Value>,
    ) -> http::Response<Body> {
        let body = body
            .map(|body| Body::from(body.to_string()))
            .unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media_type)
            .header("user-agent", "test/1")
            .body(body)
            .unwrap();
        self.server.call(request, Peer::default()).await
    }

    pub async fn json(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let media_type = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let response = self.send(method, path, media_type, body).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (
            status,
            serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        )
    }

    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.json(Method::GET, path, None).await
    }

    pub async fn create(&self, path: &str, object: Value) -> Value {
        let (status, created) = self.json(Method::POST, path, Some(object)).await;
        assert_eq!(status, StatusCode::CREATED, "{created}");
        created
    }

    pub async fn watch(&self, path: &str) -> Events {
        let response = self.send(Method::GET, path, "", None).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }
}

/// The events of a watch, line by line.
pub struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    pub async fn next(&mut self) -> (String, Value) {
        let next = async {
            loop {
                if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.buffer.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line).unwrap();
                    let kind = event["type"].as_str().unwrap().to_owned();
                    return (kind, event["object"].clone());
                }
                let frame = self.body.frame().await.expect("the watch goes on").unwrap();
                self.buffer.extend_from_slice(frame.data_ref().unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(10), next)
            .await
            .expect("an event comes")
    }
}
