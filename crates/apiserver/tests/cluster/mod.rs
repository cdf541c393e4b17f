//! A whole server in this process, for tests.

#![allow(dead_code, reason = "compiled into each test, and none uses all of it")]

use std::{sync::Arc, time::Duration};

use apiserver::{Body, Config, Dependencies, Server, authn::Peer, authz::Mode};
use base::{Clock, TaskGroup, tls::ServingCertificate};
use bytes::BufMut as _;
use etcd::{Kv, testing::EtcdProcess};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Within which what the server does by itself is done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Where a server keeps its objects.
#[derive(Clone, Copy)]
pub(crate) enum Backend {
    Embedded,
    /// A real one, of its own.
    Etcd,
}

/// A server on a store of its own, in which everybody may do everything.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) cancel: CancellationToken,
    store: TaskGroup,
    pub(crate) etcd: Option<EtcdProcess>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With settings of its own.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::start_on(Backend::Embedded, adjust).await
    }

    pub(crate) async fn start_on(backend: Backend, adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let mut etcd = None;
        let kv: Arc<dyn Kv> = match backend {
            Backend::Embedded => {
                let settings = etcd::embedded::Config::new(dir.path());
                etcd::Embedded::open(settings, clock.clone(), &store).unwrap()
            }
            Backend::Etcd => {
                let process = etcd.insert(EtcdProcess::start_quiet(dir.path()));
                let settings = etcd::remote::Config::new([process.endpoint()]);
                etcd::Remote::connect(settings, &store).await.unwrap()
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
        adjust(&mut config);
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
            etcd,
            _dir: dir,
        };
        cluster.until_ready().await;
        cluster
    }

    pub(crate) async fn until_ready(&self) {
        self.until("/readyz", |code, _| code == StatusCode::OK)
            .await;
    }

    pub(crate) async fn stop(self) {
        self.cancel.cancel();
        self.server.wait().await;
        self.store.shutdown().await;
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> http::Response<Body> {
        let body = body.map(|body| Body::from(body.to_string()));
        self.call(method, path, headers, body.unwrap_or_default())
            .await
    }

    /// With any body.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Body,
    ) -> http::Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header("user-agent", "test/1").body(body).unwrap();
        self.server.call(request, Peer::default()).await
    }

    pub(crate) async fn json(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let media_type = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let response = self
            .send(method, path, &[("content-type", media_type)], body)
            .await;
        let status = response.status();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.json(Method::GET, path, None).await
    }

    pub(crate) async fn create(&self, path: &str, object: Value) -> Value {
        let (status, created) = self.json(Method::POST, path, Some(object)).await;
        assert_eq!(status, StatusCode::CREATED, "{created}");
        created
    }

    pub(crate) async fn watch(&self, path: &str) -> Events {
        self.watch_as(path, "application/json").await
    }

    pub(crate) async fn watch_as(&self, path: &str, accept: &str) -> Events {
        let headers = [("accept", accept)];
        let response = self.send(Method::GET, path, &headers, None).await;
        assert_eq!(response.status(), StatusCode::OK);
        Events {
            body: response.into_body(),
            buffer: Vec::new(),
        }
    }

    /// Asks until the answer is as wanted. Yields in between: there is nothing here to be waited for by name.
    pub(crate) async fn until(
        &self,
        path: &str,
        wanted: impl Fn(StatusCode, &Value) -> bool,
    ) -> Value {
        let asking = async {
            loop {
                let (status, body) = self.get(path).await;
                if wanted(status, &body) {
                    return body;
                }
                tokio::task::yield_now().await;
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        answer.unwrap_or_else(|_| panic!("{path} does not become what it should be"))
    }

    /// Creates a definition and waits until it is established.
    pub(crate) async fn define(&self, definition: Value) -> Value {
        let created = self.create(DEFINITIONS, definition).await;
        let name = created["metadata"]["name"].as_str().unwrap().to_owned();
        let path = format!("{DEFINITIONS}/{name}");
        self.until(&path, |_, body| condition(body, "Established") == "True")
            .await
    }
}

/// The events of a watch, line by line.
pub(crate) struct Events {
    body: Body,
    buffer: Vec<u8>,
}

impl Events {
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let next = async {
            loop {
                if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = self.buffer.drain(..=end).collect();
                    let event: Value = serde_json::from_slice(&line).unwrap();
                    let kind = event["type"].as_str().unwrap().to_owned();
                    return (kind, event["object"].clone());
                }
                let frame = self.body.frame().await.expect("the watch goes on").unwrap();
                self.buffer.put(frame.into_data().unwrap());
            }
        };
        tokio::time::timeout(PATIENCE, next)
            .await
            .expect("an event comes")
    }
}

/// The status of a condition; empty where it has none.
pub(crate) fn condition<'a>(definition: &'a Value, kind: &str) -> &'a str {
    let conditions = definition["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|c| c["type"] == kind));
    found.and_then(|c| c["status"].as_str()).unwrap_or_default()
}
