//! A webhook of our own over real TLS, asked by a whole server.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::test_cluster::TestCluster;
use crate::webhook_client::test_server::{Called, TestServer};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// What webhooks at some paths answer, and what they were asked.
struct Hooks {
    server: TestServer,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

fn review(request: &Value, response: Value) -> Value {
    let mut response = response;
    response["uid"] = request["request"]["uid"].clone();
    json!({"kind": "AdmissionReview", "apiVersion": request["apiVersion"], "response": response})
}

fn patch(operations: &Value) -> Value {
    json!({
        "allowed": true,
        "patchType": "JSONPatch",
        "patch": STANDARD.encode(operations.to_string()),
    })
}

/// What a webhook at a path says.
fn say(path: &str, request: &Value) -> Value {
    let object = &request["request"]["object"];
    let has = |name: &str| object["data"].get(name).is_some();
    let response = match path {
        "/allow" => json!({"allowed": true, "warnings": ["take care"]}),
        "/deny" => {
            json!({"allowed": false, "status": {"message": "not today", "code": 402, "reason": "Teapot"}})
        }
        "/add-a" if has("b") && !has("a-saw-b") => patch(&json!([
            {"op": "add", "path": "/data/a", "value": "1"},
            {"op": "add", "path": "/data/a-saw-b", "value": "1"},
        ])),
        "/add-a" => patch(&json!([{"op": "add", "path": "/data/a", "value": "1"}])),
        "/add-b" => patch(&json!([{"op": "add", "path": "/data/b", "value": "1"}])),
        "/unknown-field" => patch(&json!([{"op": "add", "path": "/nonsense", "value": {"x": 1}}])),
        "/wrong-type" => patch(&json!([{"op": "add", "path": "/data", "value": 7}])),
        "/invalid" => patch(&json!([{"op": "add", "path": "/data/not valid!", "value": "1"}])),
        "/no-such-path" => patch(&json!([{"op": "remove", "path": "/data/absent"}])),
        "/disown" => patch(&json!([
            {"op": "replace", "path": "/metadata/managedFields/0/fieldsV1", "value": "{}"},
        ])),
        "/other-uid" => {
            return json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {"uid": "?", "allowed": true}});
        }
        _ => json!({"allowed": true}),
    };
    review(request, response)
}

impl Hooks {
    async fn start() -> Self {
        Self::start_as("127.0.0.1").await
    }

    /// With a certificate of this name.
    async fn start_as(name: &str) -> Self {
        let asked: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let log = Arc::clone(&asked);
        let server = TestServer::start(&[name], move |called: Called| {
            let path = called.head.uri.path().to_owned();
            let request = called.json();
            log.lock().unwrap().push((path.clone(), request.clone()));
            async move {
                match path.as_str() {
                    "/hang" => std::future::pending().await,
                    "/garbage" => (StatusCode::OK, Bytes::from_static(b"garbage")),
                    "/fail" => (
                        StatusCode::INTERNAL_SERVER_ERROR,
                        Bytes::from_static(b"broken"),
                    ),
                    "/huge" => (StatusCode::OK, Bytes::from(vec![b' '; 32 << 20])),
                    path => (StatusCode::OK, Bytes::from(say(path, &request).to_string())),
                }
            }
            .boxed()
        })
        .await;
        Self { server, asked }
    }

    /// A webhook about ConfigMaps at a path, with what `more` says.
    fn webhook(&self, path: &str, more: Value) -> Value {
        let mut webhook = json!({
            "name": format!("{}.example.com", path.trim_start_matches('/')),
            "clientConfig": {"url": self.server.url(path), "caBundle": self.server.ca_bundle()},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE", "DELETE"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            // The server writes to namespaces of its own meanwhile.
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
            "objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
        });
        for (name, value) in more.as_object().unwrap() {
            webhook[name] = value.clone();
        }
        webhook
    }

    fn asked(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|(path, _)| path).collect()
    }
}

async fn configure(cluster: &TestCluster, kind: &str, name: &str, webhooks: Vec<Value>) {
    let path = format!("{GROUP}/{kind}webhookconfigurations");
    cluster
        .have(
            &path,
            json!({"metadata": {"name": name}, "webhooks": webhooks}),
        )
        .await;
}

async fn unconfigure(cluster: &TestCluster, kind: &str, name: &str) {
    let path = format!("{GROUP}/{kind}webhookconfigurations");
    assert_eq!(cluster.delete(&format!("{path}/{name}")).await.code, 200);
    cluster.get(&path).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validating_webhooks_see_all_of_a_request_and_may_refuse_it() {
    let (cluster, hooks) = (TestCluster::start().await, Hooks::start().await);
    configure(
        &cluster,
        "validating",
        "watch",
        vec![hooks.webhook("/allow", json!({}))],
    )
    .await;

    let created = cluster.create_config_map("c", json!({"k": "v"})).await;
    assert_eq!(created.code, 201, "{created:?}");
    assert_eq!(created.warnings, ["299 - \"take care\""]);
    let (_, question) = hooks.asked().remove(0);
    let request = &question["request"];
    assert_eq!(question["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(
        request["kind"],
        json!({"group": "", "version": "v1", "kind": "ConfigMap"})
    );
    assert_eq!(
        request["requestResource"],
        json!({"group": "", "version": "v1", "resource": "configmaps"})
    );
    assert_eq!(
        (&request["name"], &request["namespace"]),
        (&json!("c"), &json!("default"))
    );
    assert_eq!(
        (&request["operation"], &request["dryRun"]),
        (&json!("CREATE"), &json!(false))
    );
    assert_eq!(
        request["object"]["metadata"]["uid"],
        created.body["metadata"]["uid"]
    );
    assert_eq!(request["oldObject"], Value::Null);
    assert_eq!(
        request["options"],
        json!({"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"})
    );
    assert_eq!(request["userInfo"]["username"], "system:anonymous");

    let owned = |object: &Value| object["metadata"]["managedFields"][0]["fieldsV1"].clone();
    assert_eq!(
        owned(&request["object"]),
        json!({"f:data": {".": {}, "f:k": {}}})
    );

    let path = format!("{CONFIG_MAPS}/c");
    assert_eq!(
        cluster.patch(&path, json!({"data": {"k": "w"}})).await.code,
        200
    );
    let (_, question) = hooks.asked().remove(0);
    for object in ["object", "oldObject"] {
        assert!(owned(&question["request"][object]).is_object());
    }
    assert_eq!(question["request"]["operation"], "UPDATE");
    assert_eq!(question["request"]["options"]["kind"], "UpdateOptions");
    assert_eq!(question["request"]["object"]["data"]["k"], "w");
    assert_eq!(question["request"]["oldObject"]["data"]["k"], "v");

    configure(
        &cluster,
        "validating",
        "refuse",
        vec![hooks.webhook("/deny", json!({}))],
    )
    .await;
    let refused = cluster.put(&path, json!({"metadata": {"name": "c"}})).await;
    assert_eq!(refused.code, 402);
    assert_eq!(
        refused.message(),
        "admission webhook \"deny.example.com\" denied the request: not today"
    );
    assert_eq!(refused.body["reason"], "Teapot");
    assert_eq!(
        cluster.delete(&path).await.code,
        402,
        "deletes are asked about as well"
    );
    assert_eq!(
        cluster.delete(CONFIG_MAPS).await.code,
        402,
        "and deletes of many"
    );
    let mut asked = hooks.paths();
    asked.sort();
    let all = [["/allow"; 3], ["/deny"; 3]].concat();
    assert_eq!(asked, all, "all are asked, whoever refuses first");
    // Old labels count too: what was let out of the selector's sight stays there only by leave of the webhook.
    let refused = cluster
        .patch(&path, json!({"metadata": {"labels": {"skip": "1"}}}))
        .await;
    assert_eq!(refused.code, 402);
    // The configuration itself is beyond webhooks, else nobody could repair it.
    unconfigure(&cluster, "validating", "refuse").await;
    assert_eq!(cluster.delete(&path).await.code, 200);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_that_a_webhook_left_in_disorder_are_what_they_were() {
    let (cluster, hooks) = (TestCluster::start().await, Hooks::start().await);
    configure(
        &cluster,
        "mutating",
        "m",
        vec![hooks.webhook("/disown", json!({}))],
    )
    .await;
    let created = cluster.create_config_map("c", json!({"k": "v"})).await;
    assert_eq!(created.code, 201, "{created:?}");
    assert_eq!(
        created.body["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {".": {}, "f:k": {}}})
    );
    let [warning] = &*created.warnings else {
        panic!("{:?}", created.warnings)
    };
    let expected = "299 - \".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: error decoding versioned set";
    assert!(warning.starts_with(expected), "{warning}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutating_webhooks_change_objects_in_order_and_are_asked_again() {
    let (cluster, hooks) = (TestCluster::start().await, Hooks::start().await);
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(
        &cluster,
        "mutating",
        "m",
        vec![
            hooks.webhook("/add-a", again),
            hooks.webhook("/add-b", json!({})),
        ],
    )
    .await;
    let created = cluster.create_config_map("c", json!({"k": "v"})).await;
    assert_eq!(created.code, 201, "{created:?}");
    assert_eq!(
        created.body["data"],
        json!({"k": "v", "a": "1", "b": "1", "a-saw-b": "1"})
    );
    assert_eq!(
        hooks.paths(),
        ["/add-a", "/add-b", "/add-a"],
        "the second never asked to be asked again"
    );

    let object = json!({"metadata": {"generateName": "made-"}, "data": {"k": "v"}});
    let created = cluster.post(CONFIG_MAPS, object).await;
    assert_eq!(created.code, 201, "{created:?}");
    let questions = hooks.asked();
    assert_eq!(
        questions[0].1["request"].get("name"),
        None,
        "its name is made up after mutation"
    );
    unconfigure(&cluster, "mutating", "m").await;

    let broken = [
        ("/wrong-type", 500, "Internal error occurred: "),
        (
            "/no-such-path",
            500,
            "Internal error occurred: error in remove for path: '/data/absent': Unable to remove nonexistent key: absent: missing value",
        ),
        (
            "/invalid",
            422,
            "ConfigMap \"x\" is invalid: data[not valid!]: Invalid value",
        ),
    ];
    for (path, code, message) in broken {
        configure(
            &cluster,
            "mutating",
            "m",
            vec![hooks.webhook(path, json!({}))],
        )
        .await;
        let answered = cluster.create_config_map("x", json!({"k": "v"})).await;
        assert_eq!(answered.code, code, "{path}: {answered:?}");
        assert!(
            answered.message().starts_with(message),
            "{path}: {answered:?}"
        );
        unconfigure(&cluster, "mutating", "m").await;
    }
    configure(
        &cluster,
        "mutating",
        "m",
        vec![hooks.webhook("/unknown-field", json!({}))],
    )
    .await;
    let created = cluster.create_config_map("pruned", json!({})).await;
    assert_eq!(
        (created.code, created.body.get("nonsense")),
        (201, None),
        "{created:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn webhooks_that_hang_fail_or_lie_are_judged_by_their_failure_policy() {
    let (cluster, hooks) = (TestCluster::start().await, Hooks::start().await);
    let base = |path: &str| hooks.server.url(path);
    let cases = [
        ("/hang", format!("failed to call webhook: Post \"{}?timeout=1s\": context deadline exceeded", base("/hang"))),
        ("/garbage", "failed to call webhook: ".to_owned()),
        ("/fail", "failed to call webhook: an error on the server (\"broken\") has prevented the request from succeeding".to_owned()),
        ("/huge", format!("failed to call webhook: Post \"{}?timeout=1s\": answer is larger than 16777216 bytes", base("/huge"))),
        ("/other-uid", "received invalid webhook response: expected response.uid=\"".to_owned()),
    ];
    for (path, reason) in cases {
        for kind in ["validating", "mutating"] {
            let webhook = hooks.webhook(path, json!({"timeoutSeconds": 1}));
            configure(&cluster, kind, "w", vec![webhook]).await;
            let refused = cluster.create_config_map("c", json!({})).await;
            let name = &path[1..];
            let start = format!(
                "Internal error occurred: failed calling webhook \"{name}.example.com\": {reason}"
            );
            assert_eq!(refused.code, 500, "{refused:?}");
            assert!(
                refused.message().starts_with(&start),
                "{} / {start}",
                refused.message()
            );
            unconfigure(&cluster, kind, "w").await;
        }
        let webhook = hooks.webhook(
            path,
            json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"}),
        );
        configure(&cluster, "validating", "w", vec![webhook]).await;
        let created = cluster
            .create_config_map(&format!("c{}", path.replace('/', "-")), json!({}))
            .await;
        assert_eq!(created.code, 201, "{created:?}");
        unconfigure(&cluster, "validating", "w").await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_reach_other_versions_and_subresources() {
    let (cluster, hooks) = (TestCluster::start().await, Hooks::start().await);
    let rule = |group: &str, version: &str, resource: &str| json!([{"apiGroups": [group], "apiVersions": [version], "resources": [resource], "operations": ["*"]}]);
    let webhooks = vec![
        hooks.webhook("/v1", json!({"rules": rule("autoscaling", "v1", "horizontalpodautoscalers")})),
        hooks.webhook("/exact", json!({"rules": rule("autoscaling", "v1", "horizontalpodautoscalers"), "matchPolicy": "Exact"})),
        hooks.webhook("/scale", json!({"rules": rule("apps", "v1", "*/scale")})),
        hooks.webhook("/namespaces", json!({"rules": rule("", "v1", "namespaces"), "namespaceSelector": {"matchLabels": {"team": "x"}}})),
    ];
    configure(&cluster, "validating", "w", webhooks).await;
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}},
    });
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let created = cluster.post(path, scaler).await;
    assert_eq!(created.code, 201, "{created:?}");
    let asked = hooks.asked();
    assert_eq!(asked.len(), 1);
    let request = &asked[0].1["request"];
    assert_eq!(
        (
            &request["kind"]["version"],
            &request["requestKind"]["version"]
        ),
        (&json!("v1"), &json!("v2"))
    );
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");

    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let created = cluster
        .post("/apis/apps/v1/namespaces/default/deployments", deployment)
        .await;
    assert_eq!(created.code, 201, "{created:?}");
    let scaled = cluster
        .patch(
            "/apis/apps/v1/namespaces/default/deployments/d/scale",
            json!({"spec": {"replicas": 3}}),
        )
        .await;
    assert_eq!(scaled.code, 200, "{scaled:?}");
    let asked = hooks.asked();
    let request = &asked[0].1["request"];
    assert_eq!(
        (&request["kind"]["kind"], &request["subResource"]),
        (&json!("Scale"), &json!("scale"))
    );
    assert_eq!(
        (
            &request["object"]["spec"]["replicas"],
            &request["oldObject"]["spec"]["replicas"]
        ),
        (&json!(3), &json!(1))
    );

    for labels in [json!({}), json!({"team": "x"})] {
        let name = format!("n{}", labels.as_object().unwrap().len());
        let created = cluster
            .post(
                "/api/v1/namespaces",
                json!({"metadata": {"name": name, "labels": labels}}),
            )
            .await;
        assert_eq!(created.code, 201, "{created:?}");
    }
    let asked = hooks.asked();
    assert_eq!(
        asked.len(),
        1,
        "the selector is about the namespace that is to be"
    );
    assert_eq!(asked[0].1["request"]["namespace"], "n1");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_say_whether_a_webhook_is_asked_at_all() {
    let (cluster, hooks) = (TestCluster::start().await, Hooks::start().await);
    let condition = |expression: &str| json!([{"name": "c", "expression": expression}]);
    let cases = [
        ("object.metadata.name != 'skip'", "Fail", "skip", 201),
        ("object.metadata.name != 'skip'", "Fail", "other", 402),
        ("object.data.absent == 'x'", "Fail", "failing", 403),
        ("object.data.absent == 'x'", "Ignore", "ignoring", 201),
        (
            "request.dryRun || !authorizer.group('').resource('pods').check('get').allowed()",
            "Fail",
            "dry",
            402,
        ),
    ];
    for sort in ["validating", "mutating"] {
        for (expression, policy, name, code) in cases {
            let more = json!({"matchConditions": condition(expression), "failurePolicy": policy});
            configure(&cluster, sort, "w", vec![hooks.webhook("/deny", more)]).await;
            let path = format!("{CONFIG_MAPS}?dryRun=All");
            let object = json!({"metadata": {"name": name}, "data": {"k": "v"}});
            let answered = cluster.post(&path, object).await;
            assert_eq!(answered.code, code, "{sort} {expression}: {answered:?}");
            let asked = hooks.asked();
            assert_eq!(asked.len(), usize::from(code == 402), "{sort} {expression}");
            if let Some((_, question)) = asked.first() {
                assert_eq!(question["request"]["dryRun"], true);
            }
            unconfigure(&cluster, sort, "w").await;
        }
    }
    let metrics = cluster.get("/metrics").await.text;
    let wanted = [
        r#"apiserver_admission_webhook_rejection_count{error_type="no_error",name="deny.example.com",operation="CREATE",rejection_code="402",type="validating"} 2"#,
        r#"apiserver_admission_match_condition_evaluation_errors_total{kind="webhook",name="deny.example.com",operation="CREATE",type="admit"} 2"#,
        r#"apiserver_admission_match_condition_exclusions_total{kind="webhook",name="deny.example.com",operation="CREATE",type="admit"} 2"#,
        r#"apiserver_admission_controller_admission_duration_seconds_count{name="MutatingAdmissionWebhook",operation="CREATE",rejected="true",type="admit"} "#,
        r#"apiserver_admission_step_admission_duration_seconds_count{operation="CREATE",rejected="false",type="validate"} "#,
    ];
    for line in wanted {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_behind_a_service_proves_to_be_that_service() {
    let cluster = TestCluster::start().await;
    let service = json!({
        "metadata": {"name": "hook"},
        "spec": {"type": "ExternalName", "externalName": "localhost"},
    });
    cluster
        .have("/api/v1/namespaces/default/services", service)
        .await;
    for (name, code) in [("hook.default.svc", 402), ("other.default.svc", 500)] {
        let hooks = Hooks::start_as(name).await;
        let target = json!({
            "service": {"name": "hook", "namespace": "default", "path": "/deny", "port": hooks.server.address.port()},
            "caBundle": hooks.server.ca_bundle(),
        });
        let webhook = hooks.webhook("/deny", json!({"clientConfig": target}));
        configure(&cluster, "validating", "w", vec![webhook]).await;
        let answered = cluster.create_config_map("c", json!({})).await;
        assert_eq!(answered.code, code, "{answered:?}");
        unconfigure(&cluster, "validating", "w").await;
    }
    cluster.stop().await;
}
