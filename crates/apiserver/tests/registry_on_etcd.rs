//! What `registry` tests, on a real etcd: the same server, stateless over it. With an etcd that gives no progress notices, too.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

#[path = "registry.rs"]
mod cases;

use http::{Method, StatusCode};
use serde_json::json;

use cases::{CONFIG_MAPS, config_map, start};

#[tokio::test]
async fn an_etcd_that_dies_is_missed_and_welcome_back() {
    let mut cluster = start().await;
    cluster.create(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    let mut watch = cluster.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(watch.next().await.1["metadata"]["name"], "a");
    cluster.etcd.as_mut().unwrap().stop();

    let (status, answer) = cluster.get(&path).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("Timeout: store unavailable: "),
        "{message}"
    );
    let created = cluster.json(Method::POST, CONFIG_MAPS, Some(config_map("b", "1")));
    assert_eq!(created.await.0, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(
        cluster.get("/readyz").await.0,
        StatusCode::INTERNAL_SERVER_ERROR
    );
    let cached = cluster.get(&format!("{path}?resourceVersion=0")).await;
    assert_eq!(
        cached.1["data"],
        json!({"k": "1"}),
        "the cache still answers"
    );

    cluster.etcd.as_mut().unwrap().restart();
    cluster.until_ready().await;
    assert_eq!(cluster.get(&path).await.0, StatusCode::OK);
    cluster.create(CONFIG_MAPS, config_map("c", "1")).await;
    let seen = async { while watch.next().await.1["metadata"]["name"] != "c" {} };
    seen.await;
    cluster.stop().await;
}
