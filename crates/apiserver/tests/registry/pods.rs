//! Pods: their bindings, their deletion and eviction.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{cluster::Cluster, start};

#[tokio::test]
async fn a_binding_says_which_pod_it_is_for() {
    let cluster = start().await;
    for (name, code, message) in [
        ("", 400, "Name parameter required."),
        (
            "a/b",
            400,
            "Name parameter invalid: \"a/b\": may not contain '/'",
        ),
        ("absent", 404, "pods \"absent\" not found"),
    ] {
        let binding = json!({"metadata": {"name": name}, "target": {"name": "n"}});
        let path = "/api/v1/namespaces/default/bindings";
        let (status, answer) = cluster.json(Method::POST, path, Some(binding)).await;
        assert_eq!(status.as_u16(), code, "{name}: {answer}");
        assert_eq!(answer["message"], message, "{name}");
    }
    cluster.stop().await;
}

/// A pod on a node, by its labels and what its status says besides.
async fn running_pod(cluster: &Cluster, name: &str, labels: Value, status: Value) {
    let account = json!({"metadata": {"name": "default"}});
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    cluster.json(Method::POST, accounts, Some(account)).await;
    let path = "/api/v1/namespaces/default/pods";
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let metadata = json!({"name": name, "labels": labels});
    let pod = json!({"metadata": metadata, "spec": spec});
    cluster.create(path, pod).await;
    // Neither the uid nor the version is asked for where the path has no name.
    let metadata = json!({
        "name": name, "labels": {"zone": "new"}, "uid": "another", "resourceVersion": "1",
    });
    let binding = json!({"metadata": metadata, "target": {"kind": "Node", "name": "n"}});
    let bindings = "/api/v1/namespaces/default/bindings";
    let bound = cluster.json(Method::POST, bindings, Some(binding)).await;
    assert_eq!(bound.0, StatusCode::CREATED, "{}", bound.1);
    let (_, mut pod) = cluster.get(&format!("{path}/{name}")).await;
    pod["status"] = status;
    let status = format!("{path}/{name}/status");
    let (code, answer) = cluster.json(Method::PUT, &status, Some(pod)).await;
    assert_eq!(code, StatusCode::OK, "{answer}");
}

#[tokio::test]
async fn a_binding_hands_its_labels_on() {
    let cluster = start().await;
    running_pod(&cluster, "p", json!({"zone": "old", "a": "b"}), json!({})).await;
    let (_, pod) = cluster.get("/api/v1/namespaces/default/pods/p").await;
    let labels = json!({"zone": "new", "a": "b"});
    assert_eq!(pod["metadata"]["labels"], labels);
    cluster.stop().await;
}

#[tokio::test]
async fn who_waits_for_a_pods_grace_changes_nothing_else() {
    let cluster = start().await;
    let path = "/api/v1/namespaces/default/pods/p";
    running_pod(&cluster, "p", json!({}), json!({})).await;
    cluster.json(Method::DELETE, path, None).await;
    let foreground = json!({"propagationPolicy": "Foreground"});
    let (code, pod) = cluster.json(Method::DELETE, path, Some(foreground)).await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(pod["metadata"]["finalizers"], Value::Null, "{pod}");
    let at_once = json!({"gracePeriodSeconds": 0});
    cluster.json(Method::DELETE, path, Some(at_once)).await;
    assert_eq!(cluster.get(path).await.0, StatusCode::NOT_FOUND);
    cluster.stop().await;
}

#[tokio::test]
async fn budgets_say_why_a_pod_may_not_go() {
    let cluster = start().await;
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
    for name in ["a", "b"] {
        running_pod(&cluster, name, json!({"app": "a"}), ready.clone()).await;
    }
    let budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = |name: &str| json!({"metadata": {"name": name}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}});
    let mut made = cluster.create(budgets, budget("one")).await;
    let evict = async |name: &str| {
        let path = format!("/api/v1/namespaces/default/pods/{name}/eviction");
        let eviction = json!({"metadata": {"name": name}});
        cluster.json(Method::POST, &path, Some(eviction)).await
    };
    let refusal = async |name: &str| {
        let (code, answer) = evict(name).await;
        assert_eq!(code, StatusCode::TOO_MANY_REQUESTS, "{answer}");
        answer["details"].clone()
    };
    let cause = |why: &str| json!([{"reason": "DisruptionBudget", "message": format!("The disruption budget one {why}")}]);
    let pending = refusal("a").await;
    assert_eq!(pending["retryAfterSeconds"], 10);
    let why = "is still being processed by the server.";
    assert_eq!(pending["causes"], cause(why));
    let mut told = async |status: Value| {
        made["status"] = status;
        let path = format!("{budgets}/one/status");
        made = cluster.json(Method::PUT, &path, Some(made.clone())).await.1;
    };
    let status = |allowed: u32, healthy: u32, conditions: Value| {
        json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
            "desiredHealthy": 1, "expectedPods": 2, "conditions": conditions})
    };
    let failed = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "oops",
        "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    for (healthy, conditions, why) in [
        (1, json!([]), "needs 1 healthy pods and has 1 currently"),
        (2, json!([]), "does not allow evicting pods currently"),
        (
            1,
            failed,
            "does not allow evicting pods currently because it failed sync: oops",
        ),
    ] {
        told(status(0, healthy, conditions)).await;
        assert_eq!(refusal("a").await["causes"], cause(why));
    }
    told(status(1, 2, json!([]))).await;
    assert_eq!(evict("a").await.0, StatusCode::CREATED);
    let (_, taken) = cluster.get(&format!("{budgets}/one")).await;
    let condition = &taken["status"]["conditions"][0];
    assert_eq!(condition["reason"], "InsufficientPods", "{taken}");
    cluster.create(budgets, budget("two")).await;
    let (code, answer) = evict("b").await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(
        answer["message"],
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
    cluster.stop().await;
}
