//! An HTTPS server that the API server speaks to, for tests: an aggregated API server, or a webhook.

#![allow(dead_code, reason = "compiled into each test, and none uses all of it")]

use std::{net::SocketAddr, sync::Arc};

use base::{TaskGroup, tls::ServingCertificate};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, std::io::Error>>;
type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A request, and the certificates that whoever sent it has shown.
pub(crate) struct Call {
    pub(crate) request: Request<Incoming>,
    pub(crate) certificates: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) async fn json(self) -> Value {
        let body = self.request.into_body().collect().await.unwrap();
        serde_json::from_slice(&body.to_bytes()).unwrap()
    }
}

/// JSON with a code.
pub(crate) fn json(code: u16, value: &Value) -> Answer {
    let mut response = Response::new(whole(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A body in one piece.
pub(crate) fn whole(text: String) -> UnsyncBoxBody<Bytes, std::io::Error> {
    let body = Full::new(Bytes::from(text));
    body.map_err(|never| match never {}).boxed_unsync()
}

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            pem,
            issuer: rcgen::Issuer::new(params, key),
        }
    }

    /// Certificate and key of a server by these names, or of a client, in PEM.
    pub(crate) fn issue(&self, common_name: &str, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut leaf = rcgen::CertificateParams::new(names).unwrap();
        leaf.distinguished_name
            .push(rcgen::DnType::CommonName, common_name);
        leaf.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
        ];
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = leaf.signed_by(&key, &self.issuer).unwrap();
        (leaf.pem(), key.serialize_pem())
    }

    /// As `caBundle` has it.
    pub(crate) fn bundle(&self) -> String {
        STANDARD.encode(&self.pem)
    }
}

/// A running server; it ends when dropped.
pub(crate) struct ExtensionServer {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    tasks: TaskGroup,
}

impl Drop for ExtensionServer {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

impl ExtensionServer {
    /// Serves on loopback by this name.
    pub(crate) async fn start(
        name: &str,
        handler: impl Fn(Call) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    ) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.issue(name, &[name]);
        let certificate = ServingCertificate::from_pem(certificate.as_bytes(), key.as_bytes());
        let tls = Arc::new(certificate.unwrap()).server_config().unwrap();
        let mut tls = rustls::ServerConfig::clone(&tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            authority,
            tasks: TaskGroup::new(&CancellationToken::new()),
        };
        let handler: Handler = Arc::new(handler);
        let tasks = server.tasks.clone();
        server.tasks.spawn_cancellable("extension", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
                tasks.spawn_cancellable("extension-connection", async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
                    let certificates: Vec<Vec<u8>> = shown.iter().map(|c| c.to_vec()).collect();
                    let service = service_fn(move |request| {
                        let certificates = certificates.clone();
                        let answer = handler(Call {
                            request,
                            certificates,
                        });
                        async move { Ok::<_, std::convert::Infallible>(answer.await) }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .with_upgrades()
                        .await;
                });
            }
        });
        server
    }

    /// A URL of it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }
}
