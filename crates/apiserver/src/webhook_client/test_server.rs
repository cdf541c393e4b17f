//! For tests: a webhook of our own, on loopback, over TLS, with an authority of its own.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base::{TaskGroup, tls::ServingCertificate};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// A call as the webhook sees it.
#[derive(Debug)]
pub(crate) struct Called {
    pub(crate) head: http::request::Parts,
    pub(crate) body: Bytes,
}

impl Called {
    /// The body as JSON.
    #[allow(
        dead_code,
        reason = "what calls bodies by their fields comes with admission"
    )]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What it answers with.
pub(crate) type Answer = (StatusCode, Bytes);
type Handler = Arc<dyn Fn(Called) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A running webhook; it ends when dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    /// Its authority, in PEM.
    pub(crate) authority: String,
    /// From where it was called, one entry a call: connections are told apart by their ports.
    pub(crate) peers: Arc<Mutex<Vec<SocketAddr>>>,
    tasks: TaskGroup,
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl TestServer {
    /// Serves as these names.
    pub(crate) async fn start(
        names: &[&str],
        handler: impl Fn(Called) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> Self {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let leaf = rcgen::CertificateParams::new(names).unwrap();
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        let certificate =
            ServingCertificate::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes());
        let tls = Arc::new(certificate.unwrap()).server_config().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            authority: authority.pem(),
            peers: Arc::default(),
            tasks: TaskGroup::new(&CancellationToken::new()),
        };
        let (tasks, peers) = (server.tasks.clone(), Arc::clone(&server.peers));
        let handler: Handler = Arc::new(handler);
        server.tasks.spawn_cancellable("webhook", async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&tls));
                let (handler, peers) = (Arc::clone(&handler), Arc::clone(&peers));
                tasks.spawn_cancellable("webhook-connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(move |request: Request<Incoming>| {
                        peers.lock().unwrap().push(peer);
                        let handler = Arc::clone(&handler);
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await?.to_bytes();
                            let (code, answer) = handler(Called { head, body }).await;
                            let mut response = Response::new(Full::new(answer));
                            *response.status_mut() = code;
                            let json = http::HeaderValue::from_static("application/json");
                            if code.is_success() {
                                response.headers_mut().insert(header::CONTENT_TYPE, json);
                            }
                            Ok::<_, hyper::Error>(response)
                        }
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        server
    }

    /// Its authority as `caBundle` has it.
    pub(crate) fn ca_bundle(&self) -> String {
        STANDARD.encode(&self.authority)
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}
