//! Requests that are odd: their parameters, paths and bodies.

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{CONFIG_MAPS, config_map, start};

#[tokio::test]
async fn bodies_over_the_bound_are_refused() {
    let cluster = start().await;
    let huge = config_map("huge", &"x".repeat(3 << 20));
    let (status, answer) = cluster.json(Method::POST, CONFIG_MAPS, Some(huge)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        answer["message"],
        "Request entity too large: limit is 3145728"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn parameters_and_paths_are_judged_in_upstreams_order_and_words() {
    const NO_SUCH_PATH: &str = "the server could not find the requested resource";
    let cluster = start().await;
    for (path, code, words) in [
        (
            format!("{CONFIG_MAPS}?limit="),
            400,
            "strconv.ParseInt: parsing \"\": invalid syntax",
        ),
        (
            format!("{CONFIG_MAPS}?watch=1&sendInitialEvents="),
            422,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            format!("{CONFIG_MAPS}?watch=1&resourceVersionMatch=Exact&labelSelector=a%20b"),
            400,
            "unable to parse requirement",
        ),
        (
            format!(
                "{CONFIG_MAPS}?resourceVersion=abc&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiYSJ9"
            ),
            400,
            "specifying resource version is not allowed when using continue",
        ),
        (
            "/api/v1/watch/namespaces/default/configmaps?resourceVersionMatch=Exact".to_owned(),
            422,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ),
        ("/api/v1/watch/configmaps/a".to_owned(), 404, NO_SUCH_PATH),
        ("/api/v1/proxy/nodes/n".to_owned(), 404, NO_SUCH_PATH),
        (
            "/api/v1/namespaces/default/pods/p/status/more".to_owned(),
            404,
            NO_SUCH_PATH,
        ),
        (
            "/api/v1/namespaces/default/pods/p/exec?dryRun=".to_owned(),
            400,
            "dryRun is not supported",
        ),
        (
            "/api/v1/namespaces//pods/p".to_owned(),
            400,
            "Namespace parameter required.",
        ),
    ] {
        let (status, answer) = cluster.get(&path).await;
        let message = answer["message"].as_str().unwrap_or_default();
        assert_eq!(status.as_u16(), code, "{path}: {message}");
        assert!(message.contains(words), "{path}: {message}");
    }
    // A namespace does not lie in another one, where its reader may be allowed everything.
    for rest in ["", "/kube-system", "/kube-system/status"] {
        let path = format!("/api/v1/namespaces/default/namespaces{rest}");
        assert_eq!(cluster.get(&path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    let path = format!("{CONFIG_MAPS}/a?propagationPolicy=");
    let (status, _) = cluster.json(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    cluster.stop().await;
}

#[tokio::test]
async fn bodies_that_say_nothing_or_something_else_are_refused_in_upstreams_words() {
    const JSON: &str = "application/json";
    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
    let cluster = start().await;
    let object = format!("{CONFIG_MAPS}/a");
    for (method, media_type, body, code, words) in [
        (Method::POST, PROTOBUF, "", 400, "empty data (<empty>)"),
        (
            Method::POST,
            PROTOBUF,
            "k8s\0",
            400,
            "empty body (6b387300)",
        ),
        (Method::DELETE, PROTOBUF, "k8s\0", 400, "empty body"),
        (
            Method::POST,
            JSON,
            r#"{"kind":"DeleteOptions","apiVersion":"nosuch/v1"}"#,
            400,
            r#"no kind "DeleteOptions" is registered for version "nosuch/v1""#,
        ),
        (
            Method::POST,
            JSON,
            r#"{"kind":"DeleteOptions","apiVersion":"apps/v1"}"#,
            400,
            "converting (v1.DeleteOptions) to (core.ConfigMap): unknown conversion",
        ),
        (
            Method::DELETE,
            "application/yaml",
            "a: [b",
            400,
            "yaml: line 1: did not find expected ',' or ']'",
        ),
        (
            Method::PATCH,
            "application/json,application/yaml",
            "{}",
            415,
            "415: Unsupported Media Type",
        ),
        (
            Method::PATCH,
            "application/yaml,application/merge-patch+json",
            "{}",
            415,
            "the body of the request was in an unknown format",
        ),
    ] {
        let path = match method {
            Method::POST => CONFIG_MAPS,
            _ => object.as_str(),
        };
        let sent = body.to_owned().into();
        let headers = [("content-type", media_type)];
        let answer = cluster.call(method, path, &headers, sent).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        let message = answer["message"].as_str().unwrap();
        assert_eq!(status, code, "{media_type} {body}: {message}");
        assert!(message.contains(words), "{media_type} {body}: {message}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn slashes_count_where_upstream_counts_them() {
    let cluster = start().await;
    cluster.create(CONFIG_MAPS, config_map("a", "1")).await;
    let (json, plain) = ("application/json", "text/plain; charset=utf-8");
    for (path, code, media_type) in [
        // Found as they are or not at all …
        ("/index.html", 200, json),
        ("/livez/", 404, plain),
        ("/livez/ping/", 404, plain),
        ("/metrics/", 404, plain),
        ("/openapi/v2/", 404, plain),
        ("/openapi/x", 404, plain),
        ("/openapi/v3/", 404, ""),
        ("//version", 404, plain),
        ("//api/v1/pods", 404, plain),
        ("/apis//apps/v1/deployments", 404, plain),
        // … or as services, which answer for all that is below them.
        ("/version//", 200, json),
        ("/version/x", 404, json),
        ("/api//", 200, json),
        ("/apis/apps/v1//", 200, json),
        ("/api/v1/namespaces/default/configmaps//", 200, json),
        ("/api/v1/namespaces/default/configmaps/a//", 200, json),
        ("/api/v1/namespaces/default/configmaps/a//x", 404, json),
        ("/api/v1/namespaces/default/configmaps/%2e%2e/x", 404, json),
        ("/api/v1/namespaces//configmaps/a", 400, json),
    ] {
        let answer = cluster.send(Method::GET, path, &[], None).await;
        let found = answer.headers().get("content-type");
        let found = found.map_or("", |value| value.to_str().unwrap());
        assert_eq!(
            (answer.status().as_u16(), found),
            (code, media_type),
            "{path}"
        );
    }
    let (_, root) = cluster.get("/").await;
    let paths = root["paths"].as_array().unwrap();
    assert!(paths.contains(&"/apis/".into()), "{root}");
    cluster.stop().await;
}
