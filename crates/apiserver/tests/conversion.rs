//! Custom resources whose versions a webhook converts, against a real one: reads, lists, watches and writes in either version, before and after the
//! stored version changes; and webhooks that fail or lie.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

mod cluster;
mod extension_server;

use std::sync::{Arc, Mutex};

use cluster::{Cluster, DEFINITIONS, PATIENCE};
use extension_server::{Answer, Call, ExtensionServer, json};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const V1: &str = "/apis/example.com/v1/namespaces/default/endpoints";
const V2: &str = "/apis/example.com/v2/namespaces/default/endpoints";

/// How the webhook misbehaves.
type Vice = fn(&mut Value);

/// What the webhook knows, and what it was asked.
#[derive(Default)]
struct Webhook {
    /// How many objects came with each question.
    asked: Mutex<Vec<usize>>,
    vice: Mutex<Option<Vice>>,
}

impl Webhook {
    async fn answer(self: Arc<Self>, call: Call) -> Answer {
        let review = call.json().await;
        assert_eq!(review["kind"], "ConversionReview");
        assert_eq!(review["apiVersion"], "apiextensions.k8s.io/v1");
        let request = &review["request"];
        let desired = request["desiredAPIVersion"].as_str().unwrap();
        let objects = request["objects"].as_array().unwrap();
        self.asked.lock().unwrap().push(objects.len());
        let converted: Vec<Value> = objects.iter().map(|o| convert(o, desired)).collect();
        let mut answer = json!({
            "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": converted},
        });
        if let Some(vice) = *self.vice.lock().unwrap() {
            vice(&mut answer);
        }
        json(200, &answer)
    }

    fn misbehave(&self, vice: Option<Vice>) {
        *self.vice.lock().unwrap() = vice;
    }

    fn asked(&self) -> Vec<usize> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// `hostPort: "a:80"` in v1, `host: "a"` and `port: "80"` in v2.
fn convert(object: &Value, desired: &str) -> Value {
    let mut converted = object.clone();
    assert_ne!(object["apiVersion"], desired, "there is nothing to convert");
    converted["apiVersion"] = desired.into();
    let fields = converted.as_object_mut().unwrap();
    if desired.ends_with("/v2") {
        let joined = fields.remove("hostPort").unwrap_or_default();
        let (host, port) = joined.as_str().unwrap().split_once(':').unwrap();
        fields.insert("host".to_owned(), host.into());
        fields.insert("port".to_owned(), port.into());
        fields.insert("unknown".to_owned(), "to be pruned".into());
    } else {
        let host = fields.remove("host").unwrap_or_default();
        let port = fields.remove("port").unwrap_or_default();
        let joined = format!("{}:{}", host.as_str().unwrap(), port.as_str().unwrap());
        fields.insert("hostPort".to_owned(), joined.into());
    }
    // Labels may be changed, what else the metadata has may not.
    converted["metadata"]["labels"]["converted-to"] = desired.rsplit('/').next().unwrap().into();
    converted["metadata"]["generation"] = 77.into();
    converted
}

fn definition(server: &ExtensionServer, stored: &str) -> Value {
    let version = |name: &str, fields: &[&str]| {
        let properties: serde_json::Map<String, Value> = fields
            .iter()
            .map(|field| ((*field).to_owned(), json!({"type": "string"})))
            .collect();
        let selectable: Vec<Value> = fields
            .iter()
            .map(|field| json!({"jsonPath": format!(".{field}")}))
            .collect();
        json!({
            "name": name, "served": true, "storage": name == stored, "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "endpoints.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "endpoints", "singular": "endpoint", "kind": "Endpoint", "listKind": "EndpointList"},
            "versions": [version("v1", &["hostPort"]), version("v2", &["host", "port"])],
            "conversion": {"strategy": "Webhook", "webhook": {
                "conversionReviewVersions": ["v1", "v1beta1"],
                "clientConfig": {"url": server.url("/convert"), "caBundle": server.authority.bundle()},
            }},
        },
    })
}

fn endpoint(name: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Endpoint", "hostPort": "a:80",
        "metadata": {"name": name, "labels": {"app": name}}})
}

struct Setup {
    cluster: Cluster,
    webhook: Arc<Webhook>,
    server: ExtensionServer,
}

async fn setup() -> Setup {
    let webhook = Arc::new(Webhook::default());
    let serving = Arc::clone(&webhook);
    let server = ExtensionServer::start("127.0.0.1", move |call| {
        Box::pin(Arc::clone(&serving).answer(call))
    })
    .await;
    let cluster = Cluster::start().await;
    cluster.define(definition(&server, "v1")).await;
    Setup {
        cluster,
        webhook,
        server,
    }
}

#[tokio::test]
async fn objects_are_shown_in_either_version() {
    let Setup {
        cluster,
        webhook,
        server,
    } = setup().await;
    let created = cluster.create(V1, endpoint("one")).await;
    assert_eq!(webhook.asked(), [0_usize; 0], "nothing to convert");
    let (status, one) = cluster.get(&format!("{V2}/one")).await;
    assert_eq!(status, StatusCode::OK, "{one}");
    assert_eq!((&one["host"], &one["port"]), (&json!("a"), &json!("80")));
    assert_eq!(one.get("unknown"), None);
    assert_eq!(one["metadata"]["labels"]["converted-to"], "v2");
    assert_eq!(one["metadata"]["generation"], 1);
    assert_eq!(one["metadata"]["uid"], created["metadata"]["uid"]);

    // Written in the other version, stored in the first.
    let mut changed = one.clone();
    changed["port"] = "81".into();
    let (status, changed) = cluster
        .json(Method::PUT, &format!("{V2}/one"), Some(changed))
        .await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(changed["port"], "81");
    let (_, as_v1) = cluster.get(&format!("{V1}/one")).await;
    assert_eq!(as_v1["hostPort"], "a:81");
    let patch = json!({"host": "b"});
    let (status, patched) = cluster
        .json(Method::PATCH, &format!("{V2}/one"), Some(patch))
        .await;
    assert_eq!((status, &patched["host"]), (StatusCode::OK, &json!("b")));

    // Stored in the second from now on: what is there stays as it is, and lists are of both.
    let path = format!("{DEFINITIONS}/endpoints.example.com");
    let (_, mut stored) = cluster.get(&path).await;
    stored["spec"]["versions"] = definition(&server, "v2")["spec"]["versions"].clone();
    let (status, stored) = cluster.json(Method::PUT, &path, Some(stored)).await;
    assert_eq!(status, StatusCode::OK, "{stored}");
    assert_eq!(stored["status"]["storedVersions"], json!(["v1", "v2"]));
    let stored_in_v2 = async {
        loop {
            webhook.asked();
            cluster.create(V1, endpoint("two")).await;
            if !webhook.asked().is_empty() {
                return;
            }
            cluster
                .json(Method::DELETE, &format!("{V1}/two"), None)
                .await;
        }
    };
    tokio::time::timeout(PATIENCE, stored_in_v2).await.unwrap();
    webhook.asked();
    for (path, field) in [(V1, "hostPort"), (V2, "port")] {
        let (_, list) = cluster.get(path).await;
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 2);
        assert!(items.iter().all(|item| item.get(field).is_some()), "{list}");
        // One of the two had to be converted.
        assert_eq!(webhook.asked(), [1], "{path}");
    }
    let (_, selected) = cluster.get(&format!("{V2}?labelSelector=app%3Dtwo")).await;
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
    // Written again, the old one is stored in the new version.
    let patch = json!({"metadata": {"annotations": {"touched": "yes"}}});
    cluster
        .json(Method::PATCH, &format!("{V2}/one"), Some(patch))
        .await;
    webhook.asked();
    cluster.get(V2).await;
    assert_eq!(webhook.asked(), [0_usize; 0]);
    cluster.stop().await;
}

#[tokio::test]
async fn watches_are_converted() {
    let Setup {
        cluster,
        server: _server,
        ..
    } = setup().await;
    cluster.create(V1, endpoint("one")).await;
    let path = format!("{V2}?watch=true&labelSelector=app&timeoutSeconds=30");
    let watch = cluster.send(Method::GET, &path, &[], None).await;
    let mut body = watch.into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        serde_json::from_slice::<Value>(&data.into_bytes()).unwrap()
    };
    let event = next().await;
    assert_eq!(
        (&event["type"], &event["object"]["host"]),
        (&json!("ADDED"), &json!("a"))
    );
    let patch = json!({"hostPort": "c:1"});
    cluster
        .json(Method::PATCH, &format!("{V1}/one"), Some(patch))
        .await;
    let event = next().await;
    assert_eq!(
        (&event["type"], &event["object"]["host"]),
        (&json!("MODIFIED"), &json!("c"))
    );
    cluster
        .json(Method::DELETE, &format!("{V1}/one"), None)
        .await;
    let event = next().await;
    assert_eq!(
        (&event["type"], &event["object"]["port"]),
        (&json!("DELETED"), &json!("1"))
    );
    cluster.stop().await;
}

#[tokio::test]
async fn selectors_are_held_against_what_was_converted() {
    let Setup {
        cluster,
        server: _server,
        ..
    } = setup().await;
    cluster.create(V1, endpoint("one")).await;
    let mut two = endpoint("two");
    two["hostPort"] = "b:80".into();
    cluster.create(V1, two).await;
    let names = async |query: &str| -> Vec<String> {
        let (status, list) = cluster.get(&format!("{V2}?{query}")).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("fieldSelector=host%3Db").await, ["two"]);
    assert_eq!(names("fieldSelector=port%3D80").await, ["one", "two"]);
    assert_eq!(names("fieldSelector=port%3D80&limit=1").await, ["one"]);
    assert_eq!(
        names("labelSelector=converted-to%3Dv2").await,
        ["one", "two"]
    );
    assert_eq!(names("labelSelector=!converted-to").await, [""; 0]);
    let other = format!("{V2}?fieldSelector=hostPort%3Da%3A80");
    assert_eq!(cluster.get(&other).await.0, StatusCode::BAD_REQUEST);

    let path = format!("{V2}?watch=true&fieldSelector=host%3Da&timeoutSeconds=30");
    let mut body = cluster
        .send(Method::GET, &path, &[], None)
        .await
        .into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(PATIENCE, body.frame()).await.unwrap();
        let data = frame.unwrap().unwrap().into_data().unwrap();
        let event: Value = serde_json::from_slice(&data.into_bytes()).unwrap();
        let name = event["object"]["metadata"]["name"].as_str().unwrap();
        format!("{} {name}", event["type"].as_str().unwrap())
    };
    assert_eq!(next().await, "ADDED one");
    for (name, host_port) in [
        ("two", "a:1"),
        ("two", "a:2"),
        ("one", "c:1"),
        ("two", "c:2"),
    ] {
        let patch = json!({ "hostPort": host_port });
        let path = format!("{V1}/{name}");
        cluster.json(Method::PATCH, &path, Some(patch)).await;
    }
    assert_eq!(next().await, "ADDED two");
    assert_eq!(next().await, "MODIFIED two");
    assert_eq!(next().await, "DELETED one");
    assert_eq!(next().await, "DELETED two");
    cluster.stop().await;
}

#[tokio::test]
async fn a_webhook_that_fails_or_lies_is_not_believed() {
    let Setup {
        cluster,
        webhook,
        server: _server,
    } = setup().await;
    cluster.create(V1, endpoint("one")).await;
    const FAILED: &str = "conversion webhook for example.com/v1, Kind=Endpoint failed: ";
    const RETURNED: &str = "conversion webhook for example.com/v1, Kind=Endpoint returned ";
    let vices: [(Vice, String); 7] = [
        (
            |answer| {
                answer["response"]["result"] = json!({"status": "Failure", "message": "no way"});
            },
            format!("{FAILED}no way"),
        ),
        (
            |answer| answer["response"]["uid"] = "other".into(),
            format!("{FAILED}expected response.uid="),
        ),
        (
            |answer| answer["apiVersion"] = "apiextensions.k8s.io/v1beta1".into(),
            format!(
                "{FAILED}expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got"
            ),
        ),
        (
            |answer| answer["response"]["convertedObjects"] = json!([]),
            format!("{RETURNED}0 objects, expected 1"),
        ),
        (
            |answer| answer["response"]["convertedObjects"][0]["metadata"]["name"] = "x".into(),
            format!("{RETURNED}invalid object at index 0: must have the same name: one != x"),
        ),
        (
            |answer| {
                answer["response"]["convertedObjects"][0]["apiVersion"] = "example.com/v1".into()
            },
            format!(
                "{RETURNED}invalid converted object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v1)"
            ),
        ),
        (
            |answer| {
                answer["response"]["convertedObjects"][0]["metadata"]["labels"]["a b"] = "c".into()
            },
            format!(
                "{RETURNED}invalid metadata at index 0: metadata.labels: Invalid value: \"a b\""
            ),
        ),
    ];
    for (vice, expected) in vices {
        webhook.misbehave(Some(vice));
        for path in [format!("{V2}/one"), V2.to_owned()] {
            let (status, answer) = cluster.get(&path).await;
            assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
            let message = answer["message"].as_str().unwrap();
            assert!(message.starts_with(&expected), "{message}");
        }
        // The other version is none of its business.
        assert_eq!(cluster.get(V1).await.0, StatusCode::OK);
    }
    webhook.misbehave(None);
    assert_eq!(cluster.get(V2).await.0, StatusCode::OK);
    cluster.stop().await;
}
