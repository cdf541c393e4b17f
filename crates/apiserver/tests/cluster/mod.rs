//! A whole server in this process, for tests.

#![allow(dead_code, reason = "compiled into each test, and none uses all of it")]

use std::{sync::Arc, time::Duration};

use apiserver::{Body, Config, Dependencies, Server, authn::Peer, authz::Mode};
use base::{Clock, TaskGroup, tls::ServingCertificate};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
/// Within which what the server does by itself is done.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server on an embedded store, in which everybody may do everything.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    cancel: CancellationToken,
    store: TaskGroup,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With settings of its own.
    pub(crate) async fn start_with(adjust: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let settings = etcd::embedded::Config::new(dir.path());
        let kv = etcd::Embedded::open(settings, clock.clone(), &store).unwrap();
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
            _dir: dir,
        };
        cluster
            .until("/readyz", |code, _| code == StatusCode::OK)
            .await;
        cluster
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
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.unwrap_or_default()).unwrap();
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

/// The status of a condition; empty where it has none.
pub(crate) fn condition<'a>(definition: &'a Value, kind: &str) -> &'a str {
    let conditions = definition["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|c| c["type"] == kind));
    found.and_then(|c| c["status"].as_str()).unwrap_or_default()
}
