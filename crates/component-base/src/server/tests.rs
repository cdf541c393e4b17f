//! A server as its clients meet it, behind an API server that knows one token and one permission.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use client::{Client, Transport, TransportError};
use http::Method;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{Authentication, Authorization, Check, PathPatterns};

const TTL: Duration = Duration::from_secs(10);

/// Knows token `good`, who may get /metrics.
struct ApiServer;

#[async_trait]
impl Transport for ApiServer {
    async fn send(
        &self,
        request: Request<Bytes>,
    ) -> Result<Response<client::Body>, TransportError> {
        let mut review: Value = serde_json::from_slice(request.body()).unwrap();
        review["status"] = match review["kind"].as_str().unwrap() {
            "TokenReview" => match review["spec"]["token"] == "good" {
                true => {
                    json!({"authenticated": true, "user": {"username": "jane", "groups": ["dev"]}})
                }
                false => json!({"authenticated": false}),
            },
            _ => {
                let spec = &review["spec"];
                let asked = &spec["nonResourceAttributes"];
                let allowed =
                    spec["user"] == "jane" && *asked == json!({"path": "/metrics", "verb": "get"});
                assert_eq!(
                    spec["groups"].as_array().unwrap().last().unwrap(),
                    if spec["user"] == "jane" {
                        "system:authenticated"
                    } else {
                        "system:unauthenticated"
                    }
                );
                json!({"allowed": allowed, "reason": if allowed { "" } else { "no rule" }})
            }
        };
        let body = Full::new(Bytes::from(review.to_string()));
        Ok(Response::new(body.map_err(|never| match never {}).boxed()))
    }
}

fn server() -> Server {
    let identity = Identity {
        name: "kube-scheduler",
        version: json!({"gitVersion": "v1.36.2"})
            .as_object()
            .unwrap()
            .clone(),
        started: "2026-01-02T03:04:05Z".parse::<Timestamp>().unwrap(),
        flags: vec![
            ("v".to_owned(), "2".to_owned()),
            ("a".to_owned(), "b".to_owned()),
        ],
    };
    let metrics = Registry::new();
    metrics.gauge("answer", "Of all.", &[]).set(&[], 42.0);
    let now = "2026-01-02T04:05:07Z".parse::<Timestamp>().unwrap();
    let sick = Check::new("leaderElection", || Err("lost".to_owned()));
    Server::new(identity, metrics, Clock::manual(now))
        .with_checks("healthz", Checks::new(Vec::new()))
        .with_checks("readyz", Checks::new(vec![sick]))
        .with_configuration("componentconfig", json!({"kind": "Some"}))
}

async fn ask(
    address: SocketAddr,
    tasks: &TaskGroup,
    path: &str,
    headers: &[(&str, &str)],
) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tasks.spawn_cancellable("client", async move {
        let _ = connection.await;
    });
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header("host", "x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = sender
        .send_request(request.body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(body.to_vec()).unwrap())
}

async fn serve(server: Server, tasks: &TaskGroup) -> SocketAddr {
    let listener = Listener::plain("127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let (address, own) = (listener.address(), tasks.clone());
    tasks.spawn("server", async move { server.serve(listener, &own).await });
    address
}

#[tokio::test]
async fn the_api_server_says_who_may_look() {
    let tasks = TaskGroup::default();
    let client = Client::new(Arc::new(ApiServer), "test");
    let clock = Clock::system();
    let guard = Guard {
        authentication: Arc::new(Authentication::new(
            Some(client.clone()),
            true,
            TTL,
            clock.clone(),
        )),
        authorization: Some(Authorization::new(client, TTL, TTL, clock)),
        always_allowed: PathPatterns::new(&["/healthz".to_owned()]).unwrap(),
    };
    let address = serve(server().guarded_by(guard), &tasks).await;
    let ask = |path, token: &'static str| {
        let bearer = format!("Bearer {token}");
        let tasks = &tasks;
        async move {
            let headers: &[(&str, &str)] = &[("authorization", &bearer)];
            let headers = if token.is_empty() { &[] } else { headers };
            ask(address, tasks, path, headers).await
        }
    };
    assert_eq!(ask("/healthz", "").await, (200, "ok".to_owned()));
    let (code, body) = ask("/metrics", "").await;
    assert_eq!(code, 403);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden",
            "message": "forbidden: User \"system:anonymous\" cannot get path \"/metrics\": no rule",
            "details": {}, "code": 403,
        })
    );
    let (code, body) = ask("/healthz", "bad").await;
    assert_eq!(code, 401, "bad credentials are refused everywhere");
    assert!(body.contains("\"message\":\"Unauthorized\""), "{body}");
    let (code, body) = ask("/metrics", "good").await;
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("\nanswer 42\n"), "{body}");
    assert_eq!(ask("/configz", "good").await.0, 403);
    tasks.shutdown().await;
}

#[tokio::test]
async fn pages_say_what_there_is() {
    let tasks = TaskGroup::default();
    let address = serve(server(), &tasks).await;
    let plain = |path| ask(address, &tasks, path, &[]);
    let (code, text) = plain("/statusz").await;
    assert_eq!(code, 200);
    assert!(
        text.starts_with("\nkube-scheduler statusz\nWarning: This endpoint")
            && text.contains("Started: Fri Jan  2 03:04:05 UTC 2026\nUp: 1 hr 01 min 02 sec\n")
            && text.contains("Paths: /configz /flagz /healthz /healthz/ping /metrics"),
        "{text}"
    );
    assert!(plain("/flagz").await.1.ends_with("\n\na=b\nv=2\n"));
    let accept = "application/json;v=v1beta1;g=config.k8s.io;as=Statusz";
    let (code, text) = ask(address, &tasks, "/statusz", &[("accept", accept)]).await;
    let object: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &object["uptimeSeconds"]), (200, &json!(3662)));
    let unspecific = [("accept", "application/json")];
    assert_eq!(ask(address, &tasks, "/flagz", &unspecific).await.0, 406);
    assert_eq!(
        plain("/configz").await.1,
        "{\"componentconfig\":{\"kind\":\"Some\"}}\n"
    );
    assert_eq!(plain("/readyz").await.0, 500);
    assert_eq!(
        plain("/readyz/ping").await,
        (404, "404 page not found\n".to_owned())
    );
    assert_eq!(plain("/livez").await.0, 404, "there is no such endpoint");
    assert!(plain("/version").await.1.contains("v1.36.2"));
    tasks.shutdown().await;
}
