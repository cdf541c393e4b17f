//! The aggregation layer against a real server of another API: discovery, OpenAPI, requests, watches and upgrades pass through, in the user's name.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

mod cluster;
mod extension_server;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use base::tls::{self, Trust};
use bytes::Bytes;
use cluster::{Cluster, PATIENCE, condition};
use extension_server::{Answer, Authority, Call, ExtensionServer, json, whole};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

/// What the other server is made of.
struct Wardle {
    /// Whom it trusts to say who a user is.
    front_proxy: String,
    /// Whether it knows OpenAPI 3.0.
    modern: AtomicBool,
    /// How often its OpenAPI 2.0 document was sent in full.
    documents: AtomicUsize,
}

impl Wardle {
    async fn answer(self: Arc<Self>, call: Call) -> Answer {
        let verifier = tls::client_verifier(self.front_proxy.as_bytes()).unwrap();
        let trusted = call.certificates.first().is_some_and(|leaf| {
            let leaf = CertificateDer::from(leaf.clone());
            let verified = verifier.verify(&leaf, &[], UnixTime::now());
            verified.is_ok()
        });
        if !trusted {
            return json(401, &json!({"kind": "Status", "code": 401}));
        }
        let request = call.request;
        let said = |name: &str| values(request.headers(), name);
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        match path.as_str() {
            "/apis/wardle.example.com/v1alpha1" => json(200, &resources()),
            "/openapi/v2" => {
                if said("if-none-match") == ["\"wardle\""] {
                    let mut answer = Response::new(whole(String::new()));
                    *answer.status_mut() = StatusCode::NOT_MODIFIED;
                    return answer;
                }
                self.documents.fetch_add(1, Ordering::SeqCst);
                let mut answer = json(200, &v2());
                let tag = http::HeaderValue::from_static("\"wardle\"");
                answer.headers_mut().insert(header::ETAG, tag);
                answer
            }
            "/openapi/v3" if self.modern.load(Ordering::SeqCst) => json(
                200,
                &json!({"paths": {
                    "version": {"serverRelativeURL": "/openapi/v3/version?hash=1"},
                    "apis/wardle.example.com/v1alpha1": {"serverRelativeURL": "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=AB"},
                }}),
            ),
            "/openapi/v3/apis/wardle.example.com/v1alpha1" => json(
                200,
                &json!({"openapi": "3.0.0", "asked": query, "by": said("x-remote-user")}),
            ),
            FLUNDERS if query.contains("watch=true") => {
                let events = ["{\"type\":\"ADDED\"}\n", "{\"type\":\"DELETED\"}\n"];
                let frames =
                    events.map(|event| Ok(Frame::data(Bytes::from_static(event.as_bytes()))));
                let body = StreamBody::new(futures_util::stream::iter(frames));
                Response::new(body.boxed_unsync())
            }
            FLUNDERS => {
                let method = request.method().to_string();
                let heard = json!({
                    "method": method, "user": said("x-remote-user"), "groups": said("x-remote-group"),
                    "extra": said("x-remote-extra-scopes"), "authorization": said("authorization"),
                });
                let body = request.into_body().collect().await.unwrap().to_bytes();
                let body: Value = serde_json::from_slice(&body).unwrap_or_default();
                json(201, &json!({"heard": heard, "body": body}))
            }
            "/apis/wardle.example.com/v1alpha1/echo" => echo(request),
            _ => json(404, &json!({"kind": "Status", "code": 404})),
        }
    }
}

/// Sends back what comes on the upgraded connection.
fn echo(request: Request<hyper::body::Incoming>) -> Answer {
    let protocol = request.headers()[header::UPGRADE].clone();
    let connection = hyper::upgrade::on(request);
    #[allow(
        clippy::disallowed_methods,
        reason = "ends with the connection, which the test closes"
    )]
    tokio::spawn(async move {
        let mut stream = TokioIo::new(connection.await.unwrap());
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            stream.write_all(&buffer[..count]).await.unwrap();
        }
    });
    let mut answer = Response::new(whole(String::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::UPGRADE, protocol);
    headers.insert(header::CONNECTION, "Upgrade".parse().unwrap());
    answer
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "wardle.example.com/v1alpha1",
        "resources": [{"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
            "verbs": ["create", "get", "list", "watch"], "shortNames": ["fl"]}],
    })
}

fn v2() -> Value {
    json!({
        "swagger": "2.0", "info": {"title": "wardle", "version": "1"},
        "paths": {
            "/apis/wardle.example.com/v1alpha1/flunders": {"get": {
                "operationId": "listFlunders", "responses": {"200": {"description": "OK", "schema": {"$ref": "#/definitions/example.Flunder"}}},
            }},
            "/version/": {"get": {"operationId": "theirVersion"}},
        },
        "definitions": {
            "example.Flunder": {"type": "object", "properties": {"meta": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.Time"}}},
            // Called as one of ours, and not the same.
            "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "integer"},
            "example.Unused": {"type": "string"},
        },
    })
}

/// A cluster and the other server, behind an APIService.
struct Setup {
    cluster: Cluster,
    wardle: Arc<Wardle>,
    _server: ExtensionServer,
    _dir: tempfile::TempDir,
}

async fn setup(modern: bool) -> Setup {
    let front_proxy = Authority::new();
    let dir = tempfile::tempdir().unwrap();
    let (certificate, key) = front_proxy.issue("front-proxy-client", &[]);
    let files = (dir.path().join("client.crt"), dir.path().join("client.key"));
    std::fs::write(&files.0, certificate).unwrap();
    std::fs::write(&files.1, key).unwrap();
    let wardle = Arc::new(Wardle {
        front_proxy: front_proxy.pem.clone(),
        modern: AtomicBool::new(modern),
        documents: AtomicUsize::new(0),
    });
    let serving = Arc::clone(&wardle);
    let server = ExtensionServer::start("api.wardle.svc", move |call| {
        Box::pin(Arc::clone(&serving).answer(call))
    })
    .await;
    let cluster = Cluster::start_with(|config| {
        config.proxy_client_certificate = Some(files);
    })
    .await;
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "wardle"}});
    cluster.create("/api/v1/namespaces", namespace).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    });
    let services = "/api/v1/namespaces/wardle/services";
    cluster.create(services, service).await;
    let api_service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1alpha1.wardle.example.com"},
        "spec": {
            "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 17790, "versionPriority": 200,
            "caBundle": server.authority.bundle(),
            "service": {"namespace": "wardle", "name": "api", "port": server.address.port()},
        },
    });
    cluster.create(API_SERVICES, api_service).await;
    let path = format!("{API_SERVICES}/v1alpha1.wardle.example.com");
    let available = |_, body: &Value| condition(body, "Available") == "True";
    let found = cluster.until(&path, available).await;
    assert_eq!(found["status"]["conditions"][0]["reason"], "Passed");
    Setup {
        cluster,
        wardle,
        _server: server,
        _dir: dir,
    }
}

#[tokio::test]
async fn requests_are_passed_on_in_the_users_name() {
    let setup = setup(true).await;
    let cluster = &setup.cluster;
    // What a client says of itself does not count, and its credentials stay here.
    let headers = [
        ("content-type", "application/json"),
        ("x-remote-user", "root"),
        ("x-remote-extra-scopes", "all"),
    ];
    let answer = cluster
        .send(Method::POST, FLUNDERS, &headers, Some(json!({"a": 1})))
        .await;
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["body"], json!({"a": 1}));
    assert_eq!(
        body["heard"],
        json!({
            "method": "POST", "user": ["system:anonymous"], "groups": ["system:unauthenticated"],
            "extra": [], "authorization": [],
        })
    );
    let watch = format!("{FLUNDERS}?watch=true");
    let watch = cluster.send(Method::GET, &watch, &[], None).await;
    let events = watch.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(events, "{\"type\":\"ADDED\"}\n{\"type\":\"DELETED\"}\n");
    setup.cluster.stop().await;
}

#[tokio::test]
async fn an_upgraded_connection_goes_through() {
    let setup = setup(true).await;
    let address = setup.cluster.server.address();
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut config =
        rustls::ClientConfig::clone(&tls::client_config(Trust::Anything, None).unwrap());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let talk = async {
        let request = Request::get("/apis/wardle.example.com/v1alpha1/echo")
            .header(header::HOST, "localhost")
            .header(header::CONNECTION, "Upgrade")
            .header(header::UPGRADE, "echo/1")
            .body(Empty::<Bytes>::new())
            .unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[header::UPGRADE], "echo/1");
        let mut stream = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
        stream.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        stream.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hello");
    };
    let both = async { tokio::join!(talk, connection.with_upgrades()) };
    let (_, ended) = tokio::time::timeout(PATIENCE, both).await.unwrap();
    ended.unwrap();
    setup.cluster.stop().await;
}

#[tokio::test]
async fn discovery_and_openapi_tell_of_it() {
    let setup = setup(true).await;
    let cluster = &setup.cluster;
    let (_, group) = cluster.get("/apis/wardle.example.com").await;
    assert_eq!(group["preferredVersion"]["version"], "v1alpha1");
    let (_, listed) = cluster.get("/apis/wardle.example.com/v1alpha1").await;
    assert_eq!(listed["resources"][0]["name"], "flunders");
    let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let answer = cluster
        .send(Method::GET, "/apis", &[("accept", aggregated)], None)
        .await;
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let all: Value = serde_json::from_slice(&body).unwrap();
    let groups = all["items"].as_array().unwrap();
    // By its priority: after `apps`.
    assert_eq!(groups[1]["metadata"]["name"], "apps");
    assert_eq!(groups[2]["metadata"]["name"], "wardle.example.com");
    let version = &groups[2]["versions"][0];
    assert_eq!(version["freshness"], "Current");
    assert_eq!(version["resources"][0]["resource"], "flunders");
    assert_eq!(version["resources"][0]["shortNames"], json!(["fl"]));

    let path = "apis/wardle.example.com/v1alpha1";
    let index = cluster
        .until("/openapi/v3", |_, body| body["paths"].get(path).is_some())
        .await;
    let address = index["paths"][path]["serverRelativeURL"].as_str().unwrap();
    assert_eq!(address, format!("/openapi/v3/{path}?hash=AB"));
    let (_, document) = cluster.get(address).await;
    assert_eq!(
        document,
        json!({"openapi": "3.0.0", "asked": "hash=AB", "by": ["system:aggregator"]})
    );

    let (_, v2) = cluster.get("/openapi/v2").await;
    assert!(v2["paths"].get("/api/v1/namespaces").is_some());
    let ours = &v2["paths"]["/version/"]["get"]["operationId"];
    assert_eq!(ours, "getCodeVersion");
    assert!(
        v2["paths"]
            .get("/apis/wardle.example.com/v1alpha1/flunders")
            .is_some()
    );
    let time = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
    let flunder = &v2["definitions"]["example.Flunder"]["properties"]["meta"];
    assert_eq!(flunder["$ref"], format!("#/definitions/{time}_v2"));
    assert_eq!(v2["definitions"][format!("{time}_v2")]["type"], "integer");
    assert_eq!(v2["definitions"][time]["type"], "string");
    assert!(v2["definitions"].get("example.Unused").is_none());
    assert_eq!(setup.wardle.documents.load(Ordering::SeqCst), 1);

    // With its APIService it goes.
    let path = format!("{API_SERVICES}/v1alpha1.wardle.example.com");
    cluster.json(Method::DELETE, &path, None).await;
    let gone = |_, body: &Value| {
        body["paths"]
            .get("apis/wardle.example.com/v1alpha1")
            .is_none()
    };
    cluster.until("/openapi/v3", gone).await;
    assert_eq!(cluster.get(FLUNDERS).await.0, StatusCode::NOT_FOUND);
    setup.cluster.stop().await;
}

#[tokio::test]
async fn older_openapi_is_converted() {
    let setup = setup(false).await;
    let path = "apis/wardle.example.com/v1alpha1";
    let index = setup
        .cluster
        .until("/openapi/v3", |_, body| body["paths"].get(path).is_some())
        .await;
    let address = index["paths"][path]["serverRelativeURL"].as_str().unwrap();
    let (status, document) = setup.cluster.get(address).await;
    assert_eq!(status, StatusCode::OK);
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/apis/wardle.example.com/v1alpha1/flunders"]);
    assert!(
        document["components"]["schemas"]
            .get("example.Flunder")
            .is_some()
    );
    setup.cluster.stop().await;
}
