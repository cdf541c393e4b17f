//! A whole server in this process: definitions of custom resources come, change and go, and what they define with them.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

mod cluster;

use cluster::{Cluster, DEFINITIONS, PATIENCE, condition};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// `widgets.example.com` with these versions.
fn widgets(versions: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "versions": versions,
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["wd"]},
        },
    })
}

fn version(name: &str, storage: bool, properties: Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}},
    })
}

fn widget(spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec})
}

#[tokio::test]
async fn what_is_defined_is_served_and_goes_with_its_definition() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.get(WIDGETS).await.0, StatusCode::NOT_FOUND);
    let schema = json!({"size": {"type": "integer", "default": 3}});
    let established = cluster
        .define(widgets(json!([version("v1", true, schema)])))
        .await;
    assert_eq!(
        established["status"]["acceptedNames"]["shortNames"],
        json!(["wd"])
    );
    // Established, it may be used at once: unknown fields are dropped, defaults filled in.
    let created = cluster
        .create(WIDGETS, widget(json!({"color": "red"})))
        .await;
    assert_eq!(created["spec"], json!({"size": 3}));
    assert_eq!(created["metadata"]["generation"], 1);
    let wrong = widget(json!({"size": "large"}));
    let (status, refused) = cluster
        .json(Method::PUT, &format!("{WIDGETS}/w"), {
            let mut wrong = wrong;
            wrong["metadata"]["resourceVersion"] = created["metadata"]["resourceVersion"].clone();
            Some(wrong)
        })
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
    assert_eq!(refused["details"]["causes"][0]["field"], "spec.size");

    let (_, discovered) = cluster.get("/apis/example.com/v1").await;
    assert_eq!(discovered["resources"][0]["name"], "widgets");
    let api_service = "/apis/apiregistration.k8s.io/v1/apiservices/v1.example.com";
    let registered = cluster
        .until(api_service, |code, _| code == StatusCode::OK)
        .await;
    assert_eq!(registered["spec"]["groupPriorityMinimum"], 1000);

    // Its objects are deleted before it goes.
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let (status, marked) = cluster.json(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::OK, "{marked}");
    assert_eq!(condition(&marked, "Terminating"), "True");
    let gone = |code, _: &Value| code == StatusCode::NOT_FOUND;
    cluster.until(&path, gone).await;
    cluster.until(WIDGETS, gone).await;
    cluster.until(api_service, gone).await;
    // The same name again is another resource: nothing of the old one is left.
    cluster
        .define(widgets(json!([version("v1", true, json!({}))])))
        .await;
    let (_, list) = cluster.get(WIDGETS).await;
    assert_eq!(list["items"], json!([]));
    cluster.stop().await;
}

#[tokio::test]
async fn names_that_are_taken_are_granted_when_they_become_free() {
    let cluster = Cluster::start().await;
    cluster
        .define(widgets(json!([version("v1", true, json!({}))])))
        .await;
    let mut second = widgets(json!([version("v1", true, json!({}))]));
    second["metadata"]["name"] = json!("gadgets.example.com");
    second["spec"]["names"] = json!({"plural": "gadgets", "singular": "gadget", "kind": "Widget", "listKind": "GadgetList"});
    cluster.create(DEFINITIONS, second).await;
    let path = format!("{DEFINITIONS}/gadgets.example.com");
    let conflict = |_, body: &Value| condition(body, "NamesAccepted") == "False";
    cluster.until(&path, conflict).await;
    let gadgets = "/apis/example.com/v1/namespaces/default/gadgets";
    assert_eq!(cluster.get(gadgets).await.0, StatusCode::NOT_FOUND);

    let first = format!("{DEFINITIONS}/widgets.example.com");
    cluster.json(Method::DELETE, &first, None).await;
    let established = |_, body: &Value| condition(body, "Established") == "True";
    cluster.until(&path, established).await;
    assert_eq!(cluster.get(gadgets).await.0, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test]
async fn versions_show_the_same_object_and_a_change_of_schema_ends_watches() {
    let cluster = Cluster::start().await;
    let size = json!({"size": {"type": "integer"}});
    let both = json!([
        version("v1", true, size.clone()),
        version("v2", false, size.clone())
    ]);
    let definition = cluster.define(widgets(both)).await;
    cluster.create(WIDGETS, widget(json!({"size": 1}))).await;
    let v2 = WIDGETS.replace("/v1/", "/v2/");
    let (_, other) = cluster.get(&format!("{v2}/w")).await;
    assert_eq!(other["apiVersion"], "example.com/v2");
    assert_eq!(other["spec"], json!({"size": 1}));
    let (_, group) = cluster.get("/apis/example.com").await;
    assert_eq!(group["preferredVersion"]["version"], "v2");

    let watch = cluster
        .send(Method::GET, &format!("{WIDGETS}?watch=true"), &[], None)
        .await;
    // A field with a default comes, and the second version goes.
    let mut changed = definition;
    let grown = json!({"size": {"type": "integer"}, "color": {"type": "string", "default": "red"}});
    changed["spec"]["versions"] = json!([version("v1", true, grown), version("v2", false, size)]);
    changed["spec"]["versions"][1]["served"] = json!(false);
    let path = format!("{DEFINITIONS}/widgets.example.com");
    let (status, changed) = cluster.json(Method::PUT, &path, Some(changed)).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    let ended = tokio::time::timeout(PATIENCE, watch.into_body().collect()).await;
    assert!(ended.is_ok(), "the watch of the old schema ends");
    // What was stored before is read with the default.
    let (_, now) = cluster.get(&format!("{WIDGETS}/w")).await;
    assert_eq!(now["spec"], json!({"size": 1, "color": "red"}));
    assert_eq!(cluster.get(&v2).await.0, StatusCode::NOT_FOUND);
    cluster.stop().await;
}

#[tokio::test]
async fn what_custom_resources_do_not_have_is_refused_as_upstream_refuses_it() {
    let cluster = Cluster::start().await;
    cluster
        .define(widgets(json!([version("v1", true, json!({}))])))
        .await;
    cluster.create(WIDGETS, widget(json!({}))).await;
    let object = format!("{WIDGETS}/w");
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let answer = cluster
        .send(Method::PATCH, &object, &strategic, Some(json!({})))
        .await;
    assert_eq!(answer.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let protobuf = [("accept", "application/vnd.kubernetes.protobuf")];
    let answer = cluster.send(Method::GET, &object, &protobuf, None).await;
    assert_eq!(answer.status(), StatusCode::NOT_ACCEPTABLE);
    // Who takes JSON too gets it.
    let either = [(
        "accept",
        "application/vnd.kubernetes.protobuf,application/json",
    )];
    let answer = cluster.send(Method::GET, &object, &either, None).await;
    assert_eq!(answer.headers()["content-type"], "application/json");
    // No such subresource, no such scope, no such method.
    for (method, path, code) in [
        (Method::GET, format!("{object}/status"), 404),
        (
            Method::GET,
            "/apis/example.com/v1/widgets/w".to_owned(),
            404,
        ),
        (Method::PUT, WIDGETS.to_owned(), 400),
        (Method::GET, format!("{WIDGETS}/%2e%2e"), 400),
        (Method::GET, format!("{WIDGETS}/%2e%2e/more"), 404),
    ] {
        let (status, body) = cluster.json(method, &path, None).await;
        assert_eq!(status.as_u16(), code, "{path}: {body}");
    }
    let of_no_version = json!({"kind": "Widget", "metadata": {"name": "v"}});
    let (status, body) = cluster
        .json(Method::POST, WIDGETS, Some(of_no_version))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert_eq!(
        body["message"],
        "the API version in the data () does not match the expected API version (example.com/v1)"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unavailable() {
    let cluster = Cluster::start().await;
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.elsewhere.example.com"},
        "spec": {
            "group": "elsewhere.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
            "service": {"namespace": "default", "name": "nobody"}, "insecureSkipTLSVerify": true,
        },
    });
    cluster
        .create("/apis/apiregistration.k8s.io/v1/apiservices", service)
        .await;
    let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.elsewhere.example.com";
    let judged = cluster
        .until(path, |_, body| condition(body, "Available") == "False")
        .await;
    let condition = &judged["status"]["conditions"][0];
    assert_eq!(condition["reason"], "ServiceNotFound");
    assert_eq!(
        condition["message"],
        "service/nobody in \"default\" is not present"
    );
    let (status, _) = cluster
        .get("/apis/elsewhere.example.com/v1/namespaces/default/things")
        .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let (status, group) = cluster.get("/apis/elsewhere.example.com").await;
    assert_eq!(status, StatusCode::OK, "{group}");
    cluster.stop().await;
}
