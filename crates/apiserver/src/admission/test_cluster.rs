//! For tests: a whole server in this process, for what plugins do to real requests.

use std::{sync::Arc, time::Duration};

use base::{Clock, TaskGroup, tls::ServingCertificate};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{Body, Config, Dependencies, Server, authn::Peer, authz::Mode};

/// A server on a store of its own.
pub(super) struct TestCluster {
    server: Server,
    cancel: CancellationToken,
    store: TaskGroup,
    _directory: tempfile::TempDir,
}

/// An answer: code, body, warnings.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) code: u16,
    pub(super) body: Value,
    pub(super) warnings: Vec<String>,
    /// The body as it came.
    pub(super) text: String,
}

impl Answered {
    pub(super) fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }
}

impl TestCluster {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = TaskGroup::new(&CancellationToken::new());
        let clock = Clock::system();
        let settings = etcd::embedded::Config::new(directory.path());
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
        config.disable_admission_plugins = vec!["ServiceAccount".to_owned()];
        config.service_cluster_ip_ranges = vec!["10.96.0.0/16".to_owned()];
        let cancel = CancellationToken::new();
        let deps = Dependencies {
            kv,
            clock,
            connector: None,
        };
        let server = Server::start(config, deps, &cancel).await.unwrap();
        let ready = tokio::time::timeout(Duration::from_secs(20), server.ready());
        ready.await.expect("the server gets ready");
        let cluster = Self {
            server,
            cancel,
            store,
            _directory: directory,
        };
        // The namespace comes with the server's own Service, which readiness does not wait for.
        let namespace = async {
            while cluster.get("/api/v1/namespaces/default").await.code != 200 {
                tokio::task::yield_now().await;
            }
        };
        let there = tokio::time::timeout(Duration::from_secs(20), namespace);
        there.await.expect("there is a namespace to work in");
        cluster
    }

    pub(super) async fn stop(self) {
        self.cancel.cancel();
        self.server.wait().await;
        self.store.shutdown().await;
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Option<Value>,
    ) -> Answered {
        let body = body.map_or(Body::Empty, |body| {
            Body::from(bytes::Bytes::from(body.to_string()))
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media_type)
            .header("user-agent", "test")
            .body(body)
            .unwrap();
        let response = self.server.call(request, Peer::default()).await;
        let code = response.status().as_u16();
        let warnings = response.headers().get_all(http::header::WARNING).iter();
        let warnings = warnings.map(|w| w.to_str().unwrap().to_owned()).collect();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Answered {
            code,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            warnings,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answered {
        self.send(Method::GET, path, "application/json", None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Answered {
        self.send(Method::POST, path, "application/json", Some(body))
            .await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Answered {
        self.send(Method::PUT, path, "application/json", Some(body))
            .await
    }

    pub(super) async fn patch(&self, path: &str, body: Value) -> Answered {
        let merge = "application/merge-patch+json";
        self.send(Method::PATCH, path, merge, Some(body)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Answered {
        self.send(Method::DELETE, path, "application/json", None)
            .await
    }

    /// Creates what has to be there.
    pub(super) async fn have(&self, path: &str, body: Value) {
        let created = self.post(path, body).await;
        assert_eq!(created.code, StatusCode::CREATED.as_u16(), "{created:?}");
        // Configuration takes effect once it has reached the cache, which a consistent read waits for.
        self.get(path).await;
    }

    /// A ConfigMap, and what is in it.
    pub(super) async fn create_config_map(&self, name: &str, data: Value) -> Answered {
        let object = json!({"metadata": {"name": name}, "data": data});
        self.post("/api/v1/namespaces/default/configmaps", object)
            .await
    }
}
