//! The server as the API server meets it: over TLS with certificates, through the API server's own connector.

use std::{collections::BTreeMap, time::Duration};

use apimachinery::{Object, Status, gvk::GroupResource};
use apiserver::{
    Body as ApiBody,
    authn::Peer as ApiPeer,
    context::Context,
    proxy::{KubeletClientConfig, ProxyConnector},
    reader::ObjectReader,
    registry::Connector as _,
    request_info::RequestInfo,
};
use async_trait::async_trait;
use cri::{BoxDuplex, CriError, ExecSession, ImageService, RuntimeService, Streaming, v1};
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use httpstream::Spdy;
use hyper::{client::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::{
    KubeletConfig,
    observed::{ContainerState, ObservedContainer},
    testing::FakeRuntime,
};

const BOUND: Duration = Duration::from_secs(20);

/// A kubelet with one pod, whose containers answer what they are told, in capitals, and end with 7.
struct OnePod {
    config: KubeletConfig,
    log_path: String,
    runtime: Arc<dyn RuntimeService>,
    images: Arc<dyn ImageService>,
    streaming: Arc<dyn Streaming>,
}

fn pod() -> Value {
    json!({
        "metadata": { "name": "p", "namespace": "d", "uid": "u" },
        "spec": { "nodeName": "n", "containers": [{ "name": "c" }] },
    })
}

#[async_trait]
impl Host for OnePod {
    fn config(&self) -> &KubeletConfig {
        &self.config
    }

    fn pods(&self) -> Vec<Pod> {
        vec![serde_json::from_value(pod()).unwrap()]
    }

    fn pod(&self, namespace: &str, name: &str) -> Option<Pod> {
        (namespace == "d" && name == "p").then(|| self.pods().remove(0))
    }

    async fn container(
        &self,
        _pod: &Pod,
        name: &str,
        previous: bool,
    ) -> Result<Option<ObservedContainer>, CriError> {
        Ok((name == "c" && !previous).then(|| ObservedContainer {
            id: "id".to_owned(),
            state: ContainerState::Running,
            log_path: self.log_path.clone(),
            ..ObservedContainer::default()
        }))
    }

    async fn sandbox_id(&self, _pod: &Pod) -> Result<Option<String>, CriError> {
        Ok(Some("sandbox".to_owned()))
    }

    fn runtime(&self) -> &Arc<dyn RuntimeService> {
        &self.runtime
    }

    fn images(&self) -> &Arc<dyn ImageService> {
        &self.images
    }

    fn streaming(&self) -> &Arc<dyn Streaming> {
        &self.streaming
    }

    async fn healthz(&self) -> Result<(), CriError> {
        Ok(())
    }
}

struct Capitals(TaskGroup);

impl Capitals {
    /// Reads all of one stream and writes it to the other in capitals; tells when it is done.
    fn start(
        &self,
        mut from: impl tokio::io::AsyncRead + Send + Unpin + 'static,
        mut to: impl tokio::io::AsyncWrite + Send + Unpin + 'static,
    ) -> tokio::sync::oneshot::Receiver<()> {
        let (done, ended) = tokio::sync::oneshot::channel();
        self.0.spawn_cancellable("capitals", async move {
            let mut text = String::new();
            from.read_to_string(&mut text).await.unwrap();
            to.write_all(text.to_uppercase().as_bytes()).await.unwrap();
            to.shutdown().await.unwrap();
            let _ = done.send(());
        });
        ended
    }
}

#[async_trait]
impl Streaming for Capitals {
    async fn exec(&self, request: v1::ExecRequest) -> Result<ExecSession, CriError> {
        assert_eq!(request.cmd, ["tr", "a-z", "A-Z"]);
        let (stdin, from) = tokio::io::duplex(64);
        let (to, stdout) = tokio::io::duplex(64);
        let ended = self.start(from, to);
        Ok(ExecSession {
            stdin: Some(Box::new(stdin)),
            stdout: Some(Box::new(stdout)),
            stderr: None,
            resize: None,
            exit: Box::pin(async move {
                let _ = ended.await;
                Ok(7)
            }),
        })
    }

    async fn attach(&self, _request: v1::AttachRequest) -> Result<ExecSession, CriError> {
        Err(CriError::precondition("not here"))
    }

    async fn port_forward(&self, sandbox: &str, port: u16) -> Result<BoxDuplex, CriError> {
        assert_eq!((sandbox, port), ("sandbox", 8080));
        let (near, far) = tokio::io::duplex(64);
        let (from, to) = tokio::io::split(far);
        self.start(from, to);
        Ok(Box::new(near))
    }
}

/// What the connector reads: the pod and its node.
struct Objects(BTreeMap<(String, String), Arc<Object>>);

#[async_trait]
impl ObjectReader for Objects {
    fn get(&self, resource: &GroupResource, _: &str, name: &str) -> Option<Arc<Object>> {
        self.0
            .get(&(resource.resource.to_string(), name.to_owned()))
            .cloned()
    }

    async fn get_fresh(
        &self,
        resource: &GroupResource,
        ns: &str,
        name: &str,
    ) -> Result<Option<Arc<Object>>, Status> {
        Ok(self.get(resource, ns, name))
    }

    fn list(&self, _: &GroupResource, _: &str) -> Vec<Arc<Object>> {
        Vec::new()
    }

    fn generation(&self, _: &GroupResource) -> u64 {
        0
    }

    fn synced(&self, _: &GroupResource) -> bool {
        true
    }
}

struct Setup {
    connector: Arc<ProxyConnector>,
    /// The same without a client certificate.
    stranger: Arc<ProxyConnector>,
    tasks: TaskGroup,
    directory: tempfile::TempDir,
}

impl Setup {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::default();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_pem = ca.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(ca, ca_key);
        let issue = |name: &str, addresses: Vec<String>| {
            let mut params = CertificateParams::new(addresses).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate().unwrap();
            (
                params.signed_by(&key, &issuer).unwrap().pem(),
                key.serialize_pem(),
            )
        };
        let (serving, serving_key) = issue("n", vec!["127.0.0.1".to_owned()]);
        let (client, client_key) = issue("apiserver", Vec::new());
        for (name, text) in [("ca", &ca_pem), ("crt", &client), ("key", &client_key)] {
            std::fs::write(file(name), text).unwrap();
        }
        let log = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout F two\n";
        std::fs::write(file("0.log"), log).unwrap();

        let tasks = TaskGroup::default();
        let clock = Clock::system();
        let runtime = FakeRuntime::new(clock.clone());
        let host = OnePod {
            config: KubeletConfig::new("n"),
            log_path: file("0.log").to_string_lossy().into_owned(),
            runtime: Arc::new(runtime.clone()),
            images: Arc::new(runtime),
            streaming: Arc::new(Capitals(tasks.clone())),
        };
        let serving = ServingCertificate::from_pem(serving.as_bytes(), serving_key.as_bytes());
        let address = "127.0.0.1:0".parse().unwrap();
        let config = ServerConfig {
            client_ca_pem: Some(ca_pem.into_bytes()),
            authorization: AuthorizationMode::AlwaysAllow,
            ..ServerConfig::new(address, Arc::new(serving.unwrap()))
        };
        let server = Server::bind(config, None, "n", clock).await.unwrap();
        let port = server.address().port();
        tasks.spawn("server", server.run(Arc::new(host), tasks.token().clone()));

        let node = json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": "127.0.0.1" }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": port } },
        }});
        let object = |value: Value| Arc::new(value.as_object().unwrap().clone());
        let objects = || {
            let key = |resource: &str, name: &str| (resource.to_owned(), name.to_owned());
            Arc::new(Objects(BTreeMap::from([
                (key("pods", "p"), object(pod())),
                (key("nodes", "n"), object(node.clone())),
            ])))
        };
        let known = KubeletClientConfig {
            client_identity: Some((file("crt"), file("key"))),
            certificate_authority: Some(file("ca")),
            ..KubeletClientConfig::default()
        };
        let unknown = KubeletClientConfig {
            client_identity: None,
            ..known.clone()
        };
        let connector = |config| Arc::new(ProxyConnector::new(config, objects(), tasks.clone()));
        Self {
            connector: connector(known),
            stranger: connector(unknown),
            tasks: tasks.clone(),
            directory,
        }
    }

    async fn finish(self) {
        self.tasks.shutdown().await;
        drop(self.directory);
    }
}

/// As the pipeline would hand the request over.
async fn connect(
    connector: &ProxyConnector,
    request: Request<ApiBody>,
) -> Result<Response<ApiBody>, apimachinery::status::Status> {
    let (parts, body) = request.into_parts();
    let mut context = Context::new(&parts, ApiPeer::default());
    context.info = RequestInfo::parse(&parts.method, &parts.uri);
    connector
        .connect(&Arc::new(context), Request::from_parts(parts, body))
        .await
}

fn get(uri: &str) -> Request<ApiBody> {
    Request::builder().uri(uri).body(ApiBody::Empty).unwrap()
}

#[tokio::test]
async fn logs_come_through_both_servers() {
    let setup = Setup::start().await;
    let uri = "/api/v1/namespaces/d/pods/p/log?tailLines=1";
    let response = connect(&setup.connector, get(uri)).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain");
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "two\n"
    );

    let previous = "/api/v1/namespaces/d/pods/p/log?previous=true";
    let refused = connect(&setup.connector, get(previous)).await.unwrap_err();
    assert_eq!(
        refused.message,
        "previous terminated container \"c\" in pod \"p\" not found"
    );
    assert_eq!(refused.code, 400);
    let refused = connect(&setup.stranger, get(uri)).await.unwrap_err();
    assert_eq!(
        refused.code, 401,
        "nobody without a certificate: {}",
        refused.message
    );
    setup.finish().await;
}

/// Sends an upgrade through a connection in memory, as `kubectl` would through its own.
async fn upgrade(setup: &Setup, uri: &str, protocol: &str) -> hyper::upgrade::Upgraded {
    let (near, far) = tokio::io::duplex(64 << 10);
    let connector = Arc::clone(&setup.connector);
    setup.tasks.spawn_cancellable("test-server", async move {
        let service = service_fn(move |request: Request<Incoming>| {
            let connector = Arc::clone(&connector);
            async move { connect(&connector, request.map(ApiBody::from)).await }
        });
        let serving = hyper::server::conn::http1::Builder::new();
        let _ = serving
            .serve_connection(TokioIo::new(far), service)
            .with_upgrades()
            .await;
    });
    let (mut sender, connection) = http1::handshake(TokioIo::new(near)).await.unwrap();
    setup.tasks.spawn_cancellable("test-client", async move {
        let _ = connection.with_upgrades().await;
    });
    let request = Request::builder()
        .method("POST")
        .uri(uri)
        .header("host", "api")
        .header("connection", "Upgrade")
        .header("upgrade", "SPDY/3.1")
        .header("x-stream-protocol-version", protocol)
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(response.headers()["x-stream-protocol-version"], protocol);
    hyper::upgrade::on(response).await.unwrap()
}

#[tokio::test]
async fn a_command_runs_through_both_servers() {
    let setup = Setup::start().await;
    let talk = async {
        let uri = "/api/v1/namespaces/d/pods/p/exec?command=tr&command=a-z&command=A-Z&stdin=true&stdout=true";
        let connection = TokioIo::new(upgrade(&setup, uri, "v4.channel.k8s.io").await);
        let spdy = Spdy::client(connection, &setup.tasks).unwrap();
        let open = async |name: &str| {
            spdy.open(vec![("streamtype".to_owned(), name.to_owned())])
                .await
                .unwrap()
                .io
        };
        let (mut error, mut stdin, mut stdout) = (
            open("error").await,
            open("stdin").await,
            open("stdout").await,
        );
        stdin.write_all(b"hello").await.unwrap();
        stdin.shutdown().await.unwrap();
        let (mut out, mut status) = (String::new(), String::new());
        stdout.read_to_string(&mut out).await.unwrap();
        error.read_to_string(&mut status).await.unwrap();
        (out, serde_json::from_str::<Value>(&status).unwrap())
    };
    let (out, status) = tokio::time::timeout(BOUND, talk).await.expect("in time");
    assert_eq!(out, "HELLO");
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "7");
    setup.finish().await;
}

#[tokio::test]
async fn a_port_is_forwarded_through_both_servers() {
    let setup = Setup::start().await;
    let talk = async {
        let uri = "/api/v1/namespaces/d/pods/p/portforward";
        let connection = TokioIo::new(upgrade(&setup, uri, "portforward.k8s.io").await);
        let spdy = Spdy::client(connection, &setup.tasks).unwrap();
        let open = async |sort: &str| {
            let headers = [("streamtype", sort), ("port", "8080"), ("requestid", "0")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
            spdy.open(headers.to_vec()).await.unwrap().io
        };
        let (mut error, mut data) = (open("error").await, open("data").await);
        data.write_all(b"ping").await.unwrap();
        data.shutdown().await.unwrap();
        let (mut answer, mut wrong) = (String::new(), String::new());
        data.read_to_string(&mut answer).await.unwrap();
        error.read_to_string(&mut wrong).await.unwrap();
        (answer, wrong)
    };
    let (answer, wrong) = tokio::time::timeout(BOUND, talk).await.expect("in time");
    assert_eq!((answer.as_str(), wrong.as_str()), ("PING", ""));
    setup.finish().await;
}
