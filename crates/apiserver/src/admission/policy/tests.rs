//! Policies of a whole server.

use serde_json::{Value, json};

use super::super::test_cluster::{Answered, TestCluster};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn spec(more: Value) -> Value {
    let mut spec = json!({"matchConstraints": {"resourceRules": [
        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]},
    ]}});
    for (name, value) in more.as_object().unwrap() {
        spec[name] = value.clone();
    }
    spec
}

/// A policy and its binding to the default namespace.
async fn policy(cluster: &TestCluster, sort: &str, name: &str, policy: Value, binding: Value) {
    let path = |kind: &str| format!("{GROUP}/{sort}admissionpolic{kind}");
    cluster
        .have(
            &path("ies"),
            json!({"metadata": {"name": name}, "spec": spec(policy)}),
        )
        .await;
    let mut bound = json!({
        "policyName": name,
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}}},
    });
    for (field, value) in binding.as_object().unwrap() {
        bound[field] = value.clone();
    }
    cluster
        .have(
            &path("ybindings"),
            json!({"metadata": {"name": name}, "spec": bound}),
        )
        .await;
}

async fn create(cluster: &TestCluster, name: &str, data: Value) -> Answered {
    let object = json!({"metadata": {"name": name}, "data": data});
    cluster
        .post(&format!("{CONFIG_MAPS}?dryRun=All"), object)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn validations_refuse_with_their_message_and_reason() {
    let cluster = TestCluster::start().await;
    let rules = json!({
        "variables": [{"name": "n", "expression": "object.metadata.name"}],
        "matchConditions": [{"name": "not-exempt", "expression": "!has(object.data) || !('exempt' in object.data)"}],
        "validations": [
            {"expression": "variables.n != 'bad'", "messageExpression": "'refusing ' + variables.n + ' in ' + namespaceObject.metadata.name", "reason": "Forbidden"},
            {"expression": "!has(object.data) || size(object.data) < 3"},
            {"expression": "!has(object.data) || object.data.missing == 'x' || true"},
            {"expression": "variables.n != 'broken' || object.data.missing == 'x'"},
            {"expression": "variables.n != 'asks' || authorizer.group('').resource('pods').namespace('default').check('get').allowed()"},
        ],
        "auditAnnotations": [{"key": "k", "valueExpression": "'name ' + variables.n"}],
    });
    policy(
        &cluster,
        "validating",
        "p",
        rules,
        json!({"validationActions": ["Deny", "Audit"]}),
    )
    .await;
    let good = create(&cluster, "good", json!({"a": "1"})).await;
    assert_eq!(good.code, 201, "{good:?}");
    let bad = create(&cluster, "bad", json!({})).await;
    assert_eq!((bad.code, &bad.body["reason"]), (403, &json!("Forbidden")));
    let message =
        "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: refusing bad in default";
    assert_eq!(
        bad.message(),
        format!("configmaps \"bad\" is forbidden: {message}")
    );
    assert_eq!(
        bad.body["details"],
        json!({"name": "bad", "kind": "configmaps", "causes": [{"message": message}]})
    );
    let many = create(&cluster, "many", json!({"a": "1", "b": "2", "c": "3"})).await;
    assert_eq!(many.code, 422);
    assert!(
        many.message().ends_with(
            "denied request: failed expression: !has(object.data) || size(object.data) < 3"
        ),
        "{many:?}"
    );
    let broken = create(&cluster, "broken", json!({"a": "1"})).await;
    assert!(
        broken
            .message()
            .ends_with("resulted in error: no such key: missing"),
        "{broken:?}"
    );
    assert_eq!(create(&cluster, "asks", json!({"a": "1"})).await.code, 201);
    assert_eq!(
        create(&cluster, "bad", json!({"exempt": "1"})).await.code,
        201
    );
    // Policies themselves are beyond policies.
    assert_eq!(
        cluster
            .delete(&format!("{GROUP}/validatingadmissionpolicybindings/p"))
            .await
            .code,
        200
    );
    cluster
        .get(&format!("{GROUP}/validatingadmissionpolicybindings"))
        .await;
    assert_eq!(create(&cluster, "bad", json!({})).await.code, 201);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn params_and_warnings() {
    let cluster = TestCluster::start().await;
    let rules = json!({
        "paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "validations": [{"expression": "!has(object.data) || size(object.data) <= int(params.metadata.labels.max)", "messageExpression": "'at most ' + params.metadata.labels.max"}],
    });
    let by_name = json!({"validationActions": ["Warn"], "paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"}});
    policy(&cluster, "validating", "p", rules, by_name).await;
    let absent = create(&cluster, "c", json!({})).await;
    assert!(
        absent.message().ends_with("denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"),
        "{absent:?}"
    );
    let secrets = "/api/v1/namespaces/default/secrets";
    cluster
        .have(
            secrets,
            json!({"metadata": {"name": "limit", "labels": {"max": "1"}}}),
        )
        .await;
    let warned = create(&cluster, "c", json!({"a": "1", "b": "2"})).await;
    assert_eq!(warned.code, 201, "{warned:?}");
    assert_eq!(
        warned.warnings,
        [
            "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': at most 1\""
        ]
    );
    assert_eq!(
        create(&cluster, "c", json!({"a": "1"})).await.warnings,
        [""; 0]
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_are_merged_or_patched() {
    let cluster = TestCluster::start().await;
    let rules = json!({
        "reinvocationPolicy": "IfNeeded",
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'from': 'policy'}}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test', path: '/metadata/labels/from', value: 'policy'}, JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('x~y'), value: object.metadata.name}]"}},
        ],
    });
    policy(&cluster, "mutating", "m", rules, json!({})).await;
    let created = cluster
        .create_config_map("c", json!({"a": "1", "x~y": "0"}))
        .await;
    assert_eq!(
        created.code, 422,
        "what a policy makes of an object is judged: {created:?}"
    );
    assert_eq!(
        cluster
            .delete(&format!("{GROUP}/mutatingadmissionpolicies/m"))
            .await
            .code,
        200
    );
    cluster
        .get(&format!("{GROUP}/mutatingadmissionpolicies"))
        .await;
    let rules = json!({
        "reinvocationPolicy": "Never",
        "mutations": [
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'from': 'policy'}}}"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test', path: '/metadata/labels/from', value: 'policy'}, JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('x.y'), value: object.metadata.name}]"}},
            {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'test', path: '/data/a', value: 'other'}, JSONPatch{op: 'remove', path: '/data/a'}]"}},
        ],
    });
    policy(&cluster, "mutating", "n", rules, json!({})).await;
    let created = cluster.create_config_map("c", json!({"a": "1"})).await;
    assert_eq!(created.code, 201, "{created:?}");
    assert_eq!(created.body["data"], json!({"a": "1", "x.y": "c"}));
    assert_eq!(
        created.body["metadata"]["labels"],
        json!({"from": "policy"})
    );
    let refused = cluster
        .post(CONFIG_MAPS, json!({"metadata": {"name": "empty"}}))
        .await;
    assert_eq!(
        (refused.code, &refused.body["reason"]),
        (403, &json!("Invalid"))
    );
    assert_eq!(
        refused.message(),
        "policy 'n' with binding 'n' denied request: JSON Patch: add operation does not apply: doc is missing path: \"/data/x.y\": missing value"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_do_not_compile_are_refused() {
    let cluster = TestCluster::start().await;
    let path = format!("{GROUP}/validatingadmissionpolicies");
    let rules =
        json!({"validations": [{"expression": "object.metadata.name =="}, {"expression": "'x'"}]});
    let refused = cluster
        .post(
            &path,
            json!({"metadata": {"name": "p"}, "spec": spec(rules)}),
        )
        .await;
    assert_eq!(refused.code, 422, "{refused:?}");
    let causes = &refused.body["details"]["causes"];
    assert_eq!(causes[0]["field"], "spec.validations[0].expression");
    let message = causes[0]["message"].as_str().unwrap();
    assert!(message.starts_with("Invalid value: \"object.metadata.name ==\": compilation failed: ERROR: <input>:1:24: Syntax error: mismatched input '<EOF>'"), "{message}");
    assert_eq!(
        causes[1]["message"],
        "Invalid value: \"'x'\": must evaluate to bool but got string"
    );
    cluster.stop().await;
}

/// Serves `limits` of `example.com`, which scale by what they allow.
async fn serve_limits(cluster: &TestCluster) -> String {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "max": {"type": "integer"}, "note": {"type": "string", "nullable": true},
    }}}});
    let scale = json!({"specReplicasPath": ".spec.max", "statusReplicasPath": ".status.max"});
    let definition = json!({
        "metadata": {"name": "limits.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "limits", "singular": "limit", "kind": "Limit", "listKind": "LimitList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}, "subresources": {"scale": scale}}],
        },
    });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    cluster.have(definitions, definition).await;
    let path = "/apis/example.com/v1/namespaces/default/limits";
    let served = async {
        while cluster.get(path).await.code != 200 {
            tokio::task::yield_now().await;
        }
    };
    let served = tokio::time::timeout(std::time::Duration::from_secs(20), served);
    served.await.expect("the definition is served");
    path.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_are_parameters() {
    let cluster = TestCluster::start().await;
    let limits = serve_limits(&cluster).await;
    let rules = json!({
        "paramKind": {"apiVersion": "example.com/v1", "kind": "Limit"},
        "validations": [{"expression": "size(object.data) <= params.spec.max", "messageExpression": "'at most ' + string(params.spec.max)"}],
    });
    let binding = json!({"validationActions": ["Deny"], "paramRef": {
        "selector": {"matchLabels": {"use": "yes"}}, "parameterNotFoundAction": "Allow",
    }});
    policy(&cluster, "validating", "p", rules, binding).await;
    let two = json!({"a": "1", "b": "2"});
    assert_eq!(create(&cluster, "c", two.clone()).await.code, 201);
    for (name, max, used) in [("wide", 2, "yes"), ("none", 0, "no")] {
        let limit = json!({
            "apiVersion": "example.com/v1", "kind": "Limit",
            "metadata": {"name": name, "labels": {"use": used}}, "spec": {"max": max},
        });
        cluster.have(&limits, limit).await;
    }
    assert_eq!(create(&cluster, "c", two.clone()).await.code, 201);
    let path = format!("{limits}/wide");
    let lowered = cluster.patch(&path, json!({"spec": {"max": 1}})).await;
    assert_eq!(lowered.code, 200, "{lowered:?}");
    cluster.get(&limits).await;
    let refused = create(&cluster, "c", two).await;
    assert_eq!(
        refused.message(),
        "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: at most 1"
    );
    let metrics = cluster.get("/metrics").await.text;
    let line = r#"apiserver_validating_admission_policy_check_total{enforcement_action="deny",error_type="no_error",policy="p",policy_binding="p"} 1"#;
    assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutating_policy_sees_what_came_after_it_if_it_wishes() {
    let cluster = TestCluster::start().await;
    let patch = |text: &str| json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": text}}]);
    let first = "has(object.data.later) ? [JSONPatch{op: 'add', path: '/data/seen', value: 'yes'}] : [JSONPatch{op: 'add', path: '/data/first', value: '1'}]";
    let second = "[JSONPatch{op: 'add', path: '/data/later', value: '1'}]";
    for (name, again, text) in [("a", "IfNeeded", first), ("b", "Never", second)] {
        let rules = json!({"reinvocationPolicy": again, "mutations": patch(text)});
        policy(&cluster, "mutating", name, rules, json!({})).await;
    }
    let created = create(&cluster, "c", json!({"own": "1"})).await;
    assert_eq!(
        created.body["data"],
        json!({"own": "1", "first": "1", "later": "1", "seen": "yes"})
    );
    // What fails is ignored where the policy says so, and counted either way.
    let rules = json!({
        "failurePolicy": "Ignore", "reinvocationPolicy": "Never",
        "mutations": patch("[JSONPatch{op: 'remove', path: '/data/absent'}]"),
    });
    policy(&cluster, "mutating", "c", rules, json!({})).await;
    assert_eq!(create(&cluster, "c", json!({"own": "1"})).await.code, 201);
    let metrics = cluster.get("/metrics").await.text;
    let line = r#"apiserver_mutating_admission_policy_check_total{error_type="invalid_error",policy="c",policy_binding="c"} 1"#;
    assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mutation_adds_is_known_to_the_schema() {
    let cluster = TestCluster::start().await;
    let text = "[JSONPatch{op: 'add', path: '/spec', value: {'a': 1}}]";
    let rules = json!({
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": text}}],
    });
    policy(&cluster, "mutating", "a", rules, json!({})).await;
    let refused = create(&cluster, "c", json!({"own": "1"})).await;
    assert_eq!(refused.code, 500);
    assert_eq!(
        refused.body["message"],
        "Internal error occurred: strict decoding error: unknown field \"spec\""
    );
    cluster.stop().await;
}

/// The only mutation of a policy.
fn json_patch(again: &str, text: &str) -> Value {
    json!({
        "reinvocationPolicy": again,
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": text}}],
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_willing_policy_is_asked_again_after_its_own_change() {
    let cluster = TestCluster::start().await;
    let text =
        "[JSONPatch{op: 'replace', path: '/data/own', value: object.data.own + object.data.own}]";
    let rules = json_patch("IfNeeded", text);
    policy(&cluster, "mutating", "a", rules, json!({})).await;
    let created = create(&cluster, "c", json!({"own": "1"})).await;
    assert_eq!(created.body["data"], json!({"own": "1111"}));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mutation_neither_moves_an_object_nor_makes_another_of_it() {
    let cluster = TestCluster::start().await;
    let elsewhere = "[JSONPatch{op: 'add', path: object.data.path, value: object.data.value}]";
    let rules = json_patch("Never", elsewhere);
    policy(&cluster, "mutating", "a", rules, json!({})).await;
    for (path, value, code, message) in [
        (
            "/metadata/namespace",
            "kube-system",
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "/apiVersion",
            "v2",
            500,
            "Internal error occurred: no kind \"ConfigMap\" is registered for version \"v2\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
        (
            "/kind",
            "Node",
            500,
            "Internal error occurred: failed to convert object: converting (v1.Node) to (core.ConfigMap): unknown conversion",
        ),
    ] {
        let refused = create(&cluster, "c", json!({"path": path, "value": value})).await;
        assert_eq!((refused.code, refused.message()), (code, message));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scale_of_a_custom_resource_is_judged() {
    let cluster = TestCluster::start().await;
    let limits = serve_limits(&cluster).await;
    let limit = json!({"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": "a"}, "spec": {"max": 1}});
    cluster.have(&limits, limit).await;
    let rules = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["limits/scale"]},
        ]},
        "validations": [{
            "expression": "object.spec.replicas < 3",
            "messageExpression": "string(oldObject.spec.replicas) + ' to ' + string(object.spec.replicas)",
        }],
    });
    policy(
        &cluster,
        "validating",
        "s",
        rules,
        json!({"validationActions": ["Deny"]}),
    )
    .await;
    let path = format!("{limits}/a/scale");
    let to = |replicas: i64| json!({"spec": {"replicas": replicas}});
    assert_eq!(cluster.patch(&path, to(2)).await.code, 200);
    let refused = cluster.patch(&path, to(3)).await;
    assert!(
        refused.message().ends_with("denied request: 2 to 3"),
        "{refused:?}"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_null_is_refused_where_the_expression_makes_it() {
    let cluster = TestCluster::start().await;
    let limits = serve_limits(&cluster).await;
    let text =
        "object.spec.max == 1 ? Object{spec: object.spec} : Object{spec: Object.spec{note: null}}";
    let rules = json!({
        "matchConstraints": {"resourceRules": [
            {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["limits"]},
        ]},
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}],
    });
    policy(&cluster, "mutating", "n", rules, json!({})).await;
    let limit = |max: i64| json!({"apiVersion": "example.com/v1", "kind": "Limit", "metadata": {"name": "a"}, "spec": {"max": max, "note": null}});
    let path = format!("{limits}?dryRun=All");
    let created = cluster.post(&path, limit(1)).await;
    assert_eq!(created.code, 201, "{created:?}");
    assert_eq!(created.body["spec"], json!({"max": 1, "note": null}));
    let refused = cluster.post(&path, limit(2)).await;
    assert_eq!(
        refused.message(),
        "policy 'n' with binding 'n' denied request: error applying patch: failed to convert patch object to typed object: .spec.note: expected string, got &value.valueUnstructured{Value:0}"
    );
    cluster.stop().await;
}
