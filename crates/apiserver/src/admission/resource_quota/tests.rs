//! A whole server grants, counts and refuses.

use serde_json::{Value, json};

use super::super::test_cluster::TestCluster;

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// A quota whose status says that nothing is used yet, as the controller would have it.
async fn quota(cluster: &TestCluster, name: &str, spec: Value) {
    let mut used = spec["hard"].clone();
    for value in used.as_object_mut().unwrap().values_mut() {
        *value = json!("0");
    }
    let status = json!({"status": {"hard": spec["hard"], "used": used}});
    cluster
        .have(QUOTAS, json!({"metadata": {"name": name}, "spec": spec}))
        .await;
    let patched = cluster
        .patch(&format!("{QUOTAS}/{name}/status"), status)
        .await;
    assert_eq!(patched.code, 200, "{patched:?}");
    cluster.get(QUOTAS).await;
}

fn pod(name: &str, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_used_is_counted_and_bounded() {
    let cluster = TestCluster::start().await;
    quota(
        &cluster,
        "q",
        json!({"hard": {"requests.cpu": "1", "limits.memory": "1Gi", "pods": "5"}}),
    )
    .await;
    let refused = cluster.post(PODS, pod("p", json!({}))).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            403,
            "pods \"p\" is forbidden: failed quota: q: must specify limits.memory for: c; requests.cpu for: c"
        )
    );
    let wanted = json!({"requests": {"cpu": "600m"}, "limits": {"memory": "512Mi"}});
    let created = cluster.post(PODS, pod("p", wanted.clone())).await;
    assert_eq!(created.code, 201, "{created:?}");
    let refused = cluster.post(PODS, pod("q", wanted)).await;
    assert_eq!(
        refused.message(),
        "pods \"q\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    let quota = cluster.get(&format!("{QUOTAS}/q")).await.body;
    assert_eq!(
        quota["status"]["used"],
        json!({"limits.memory": "512Mi", "pods": "1", "requests.cpu": "600m"})
    );
    let dry = json!({"requests": {"cpu": "1m"}, "limits": {"memory": "1Mi"}});
    let created = cluster
        .post(&format!("{PODS}?dryRun=All"), pod("d", dry))
        .await;
    assert_eq!(created.code, 201, "{created:?}");
    let same = cluster.get(&format!("{QUOTAS}/q")).await.body;
    assert_eq!(
        same["status"], quota["status"],
        "what does not happen uses nothing"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_never_get_more_than_there_is() {
    let cluster = TestCluster::start().await;
    quota(&cluster, "q", json!({"hard": {"configmaps": "7"}})).await;
    quota(&cluster, "r", json!({"hard": {"count/configmaps": "100"}})).await;
    let creates = (0..40).map(|n| {
        let cluster = &cluster;
        async move {
            loop {
                let name = format!("c{n}");
                let code = cluster.create_config_map(&name, json!({})).await.code;
                // Flow control may ask to come again, as it does of any client.
                if code != 429 {
                    return code;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let codes = futures_util::future::join_all(creates).await;
    assert_eq!(
        codes.iter().filter(|code| **code == 201).count(),
        7,
        "{codes:?}"
    );
    assert_eq!(
        codes.iter().filter(|code| **code == 403).count(),
        33,
        "{codes:?}"
    );
    let quota = cluster.get(&format!("{QUOTAS}/q")).await.body;
    assert_eq!(quota["status"]["used"], json!({"configmaps": "7"}));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_and_changes() {
    let cluster = TestCluster::start().await;
    quota(
        &cluster,
        "be",
        json!({"hard": {"pods": "1"}, "scopes": ["BestEffort"]}),
    )
    .await;
    quota(&cluster, "s", json!({"hard": {"services.nodeports": "1"}})).await;
    assert_eq!(cluster.post(PODS, pod("a", json!({}))).await.code, 201);
    assert_eq!(cluster.post(PODS, pod("b", json!({}))).await.code, 403);
    assert_eq!(
        cluster
            .post(PODS, pod("c", json!({"requests": {"cpu": "1m"}})))
            .await
            .code,
        201
    );
    let services = "/api/v1/namespaces/default/services";
    let service =
        json!({"metadata": {"name": "s"}, "spec": {"ports": [{"name": "a", "port": 80}]}});
    assert_eq!(cluster.post(services, service).await.code, 201);
    let path = format!("{services}/s");
    let changed = cluster
        .patch(&path, json!({"spec": {"type": "NodePort"}}))
        .await;
    assert_eq!(changed.code, 200, "{changed:?}");
    let ports = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}});
    let refused = cluster.patch(&path, ports).await;
    assert_eq!(
        refused.message(),
        "services \"s\" is forbidden: exceeded quota: s, requested: services.nodeports=1, used: services.nodeports=1, limited: services.nodeports=1"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_claims_is_counted_and_never_refused() {
    let cluster = TestCluster::start().await;
    quota(&cluster, "q", json!({"hard": {"requests.storage": "2Gi"}})).await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let storage = json!({"requests": {"storage": "1Gi"}});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": storage});
    let claim = json!({"metadata": {"name": "c"}, "spec": spec});
    assert_eq!(cluster.post(claims, claim).await.code, 201);
    let allocated = json!({"status": {"allocatedResources": {"storage": "4Gi"}}});
    let changed = cluster
        .patch(&format!("{claims}/c/status"), allocated)
        .await;
    assert_eq!(changed.code, 200, "{changed:?}");
    let quota = cluster.get(&format!("{QUOTAS}/q")).await.body;
    assert_eq!(quota["status"]["used"], json!({"requests.storage": "4Gi"}));
    cluster.stop().await;
}
