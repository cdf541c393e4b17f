//! A whole server in this process, without a connection: what clients see of writes, reads, lists, pages and watches.
//!
//! The tests are built twice: here on the embedded store, and as `registry_on_etcd` on a real etcd.

#![allow(
    clippy::unwrap_used,
    reason = "what the tests stand on fails by panicking, as a test does"
)]

mod cluster;
#[path = "registry/pods.rs"]
mod pods;
#[path = "registry/requests.rs"]
mod requests;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use cluster::{Backend, Cluster};

/// On a real etcd, or not: by the test that this is compiled into.
pub(crate) async fn start() -> Cluster {
    let backend = match env!("CARGO_CRATE_NAME") {
        "registry_on_etcd" => Backend::Etcd,
        _ => Backend::Embedded,
    };
    Cluster::start_on(backend, |_| {}).await
}

pub(crate) const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

pub(crate) fn config_map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": value}})
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[tokio::test]
async fn an_object_lives_through_all_verbs() {
    let cluster = start().await;
    let created = cluster.create(CONFIG_MAPS, config_map("a", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(cluster.get(&path).await, (StatusCode::OK, created.clone()));

    let again = cluster
        .json(Method::POST, CONFIG_MAPS, Some(config_map("a", "1")))
        .await;
    assert_eq!(
        (again.0, &again.1["reason"]),
        (StatusCode::CONFLICT, &json!("AlreadyExists"))
    );

    let mut changed = created.clone();
    changed["data"]["k"] = json!("2");
    let (status, updated) = cluster
        .json(Method::PUT, &path, Some(changed.clone()))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(version(&updated), version(&created));

    // Another change comes from the old version.
    changed["data"]["k"] = json!("3");
    let (status, stale) = cluster.json(Method::PUT, &path, Some(changed)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let message = stale["message"].as_str().unwrap();
    assert!(message.ends_with(
        "the object has been modified; please apply your changes to the latest version and try again"
    ));

    let patch = json!({"data": {"k": "2"}});
    let (_, patched) = cluster.json(Method::PATCH, &path, Some(patch)).await;
    assert_eq!(
        version(&patched),
        version(&updated),
        "a patch without effect writes nothing"
    );

    let (status, gone) = cluster.json(Method::DELETE, &path, None).await;
    assert_eq!(
        (status, &gone["status"]),
        (StatusCode::OK, &json!("Success"))
    );
    assert_eq!(cluster.get(&path).await.0, StatusCode::NOT_FOUND);
    cluster.stop().await;
}

#[tokio::test]
async fn whoever_asked_for_a_deletion_hears_of_it_even_if_a_kubelet_ends_it_first() {
    let cluster = start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({
        "metadata": {"name": "brief"},
        "spec": {
            "nodeName": "here",
            "terminationGracePeriodSeconds": 0,
            "serviceAccountName": "default",
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "example"}],
        },
    });
    let account = json!({"metadata": {"name": "default"}});
    cluster
        .create("/api/v1/namespaces/default/serviceaccounts", account)
        .await;
    for _ in 0..50 {
        let created = cluster.create(pods, pod.clone()).await;
        let since = version(&created);
        let mut events = cluster
            .watch(&format!("{pods}?watch=true&resourceVersion={since}"))
            .await;
        let path = format!("{pods}/brief");
        let kubelet = async {
            events.next().await;
            let now = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": created["metadata"]["uid"]}});
            cluster.json(Method::DELETE, &path, Some(now)).await;
        };
        let ((status, answer), ()) =
            tokio::join!(cluster.json(Method::DELETE, &path, None), kubelet);
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["metadata"]["uid"], created["metadata"]["uid"]);
    }
    cluster.stop().await;
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_gone() {
    let cluster = start().await;
    let mut object = config_map("held", "1");
    object["metadata"]["finalizers"] = json!(["example.com/hold"]);
    cluster.create(CONFIG_MAPS, object).await;
    let path = format!("{CONFIG_MAPS}/held");

    let (status, marked) = cluster.json(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::OK);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(cluster.get(&path).await.0, StatusCode::OK);

    let more = json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}});
    let (status, _) = cluster.json(Method::PATCH, &path, Some(more)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);

    let none = json!({"metadata": {"finalizers": null}});
    assert_eq!(
        cluster.json(Method::PATCH, &path, Some(none)).await.0,
        StatusCode::OK
    );
    assert_eq!(cluster.get(&path).await.0, StatusCode::NOT_FOUND);
    cluster.stop().await;
}

#[tokio::test]
async fn pages_are_of_one_revision_whatever_happens_between_them() {
    let cluster = start().await;
    // The namespace's own ConfigMap sorts before these.
    for name in ["p0", "p1", "p2", "p3"] {
        cluster.create(CONFIG_MAPS, config_map(name, "1")).await;
    }
    let (_, first) = cluster.get(&format!("{CONFIG_MAPS}?limit=2")).await;
    assert_eq!(first["metadata"]["remainingItemCount"], 2);
    let token = first["metadata"]["continue"].as_str().unwrap();

    cluster
        .json(Method::DELETE, &format!("{CONFIG_MAPS}/p2"), None)
        .await;
    cluster.create(CONFIG_MAPS, config_map("p9", "1")).await;

    let (status, second) = cluster
        .get(&format!("{CONFIG_MAPS}?limit=2&continue={token}"))
        .await;
    assert_eq!(status, StatusCode::OK);
    let names: Vec<&str> = second["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["p2", "p3"]);
    assert_eq!(version(&second), version(&first));
    assert_eq!(second["metadata"].get("continue"), None);
    assert_eq!(
        second["items"][0].get("kind"),
        None,
        "items of typed lists bear no kind"
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_shows_what_comes_into_its_selection_and_what_leaves_it() {
    let cluster = start().await;
    let mut events = cluster
        .watch(&format!("{CONFIG_MAPS}?watch=1&labelSelector=on"))
        .await;
    cluster.create(CONFIG_MAPS, config_map("w", "1")).await;
    let path = format!("{CONFIG_MAPS}/w");
    let label = |value: Value| json!({"metadata": {"labels": {"on": value}}});
    cluster
        .json(Method::PATCH, &path, Some(label(json!("1"))))
        .await;
    let (kind, added) = events.next().await;
    assert_eq!(
        (kind.as_str(), &added["metadata"]["name"]),
        ("ADDED", &json!("w"))
    );

    cluster
        .json(Method::PATCH, &path, Some(label(json!("2"))))
        .await;
    assert_eq!(events.next().await.0, "MODIFIED");

    let (_, left) = cluster
        .json(Method::PATCH, &path, Some(label(Value::Null)))
        .await;
    let (kind, deleted) = events.next().await;
    assert_eq!(kind, "DELETED");
    assert_eq!(
        deleted["metadata"]["labels"]["on"], "2",
        "as the client knew it"
    );
    assert_eq!(version(&deleted), version(&left), "as of the change");
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_from_a_list_misses_nothing() {
    let cluster = start().await;
    cluster.create(CONFIG_MAPS, config_map("m0", "1")).await;
    let (_, list) = cluster.get(CONFIG_MAPS).await;
    let created = cluster.create(CONFIG_MAPS, config_map("m1", "1")).await;
    let from = version(&list);
    let mut events = cluster
        .watch(&format!("{CONFIG_MAPS}?watch=1&resourceVersion={from}"))
        .await;
    assert_eq!(events.next().await, ("ADDED".to_owned(), created));

    let mut listing = cluster
        .watch(&format!(
            "{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
             &allowWatchBookmarks=true&fieldSelector=metadata.name%3Dm0"
        ))
        .await;
    let (kind, object) = listing.next().await;
    assert_eq!(
        (kind.as_str(), &object["metadata"]["name"]),
        ("ADDED", &json!("m0"))
    );
    let (kind, bookmark) = listing.next().await;
    assert_eq!(kind, "BOOKMARK");
    assert_eq!(
        bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"],
        "true"
    );
    cluster.stop().await;
}

/// What is made of the stored bytes (v1) is what is made of trees (v1beta1).
#[tokio::test]
async fn tables_and_metadata_of_a_watch_say_the_same_in_both_versions() {
    let cluster = start().await;
    let sets = "/apis/apps/v1/namespaces/default/daemonsets";
    let labels = json!({"app": "a"});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "d", "annotations": {"deprecated.daemonset.template.generation": "7"}},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    });
    cluster.create(sets, set).await;
    cluster.create(CONFIG_MAPS, config_map("m", "1")).await;
    for (path, shape) in [
        (CONFIG_MAPS, "Table"),
        (CONFIG_MAPS, "PartialObjectMetadata"),
        (sets, "Table"),
        (sets, "PartialObjectMetadata"),
    ] {
        for include in ["Metadata", "Object", "None"] {
            let path = format!("{path}?watch=1&includeObject={include}");
            let mut seen = Vec::new();
            for version in ["v1", "v1beta1"] {
                let accept = format!("application/json;as={shape};v={version};g=meta.k8s.io");
                let (kind, event) = cluster.watch_as(&path, &accept).await.next().await;
                let mut event = event
                    .to_string()
                    .replace("meta.k8s.io/v1beta1", "meta.k8s.io/v1");
                // A second may pass between the two.
                for age in ["0s", "1s", "2s"] {
                    event = event.replace(&format!("\"{age}\""), "\"age\"");
                }
                seen.push((kind, event));
            }
            assert_eq!(seen[0], seen[1], "{path} as {shape}");
            assert!(seen[0].1.contains(shape), "{seen:?}");
        }
    }
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut events = cluster
        .watch_as(&format!("{CONFIG_MAPS}?watch=1"), table)
        .await;
    let (_, first) = events.next().await;
    assert_eq!(first["columnDefinitions"][0]["name"], "Name");
    let path = format!("{CONFIG_MAPS}/m");
    let (_, gone) = cluster.json(Method::DELETE, &path, None).await;
    let (kind, last) = events.next().await;
    assert_eq!(
        (kind.as_str(), &last["columnDefinitions"]),
        ("DELETED", &Value::Null)
    );
    assert_eq!(
        last["rows"][0]["object"]["metadata"]["uid"],
        gone["details"]["uid"]
    );
    assert_eq!(
        last["metadata"],
        json!({"resourceVersion": version(&last["rows"][0]["object"])})
    );
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_that_begins_with_much_lets_others_go_on() {
    let cluster = start().await;
    let large = "x".repeat(40 << 10);
    for name in ["a", "b", "c"] {
        cluster.create(CONFIG_MAPS, config_map(name, &large)).await;
    }
    let response = cluster
        .send(Method::GET, &format!("{CONFIG_MAPS}?watch=1"), &[], None)
        .await;
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    for _ in 0..2 {
        // Everything is there, but it is the others' turn.
        assert!(futures_util::poll!(body.frame()).is_pending());
        let frame = body.frame().await.unwrap().unwrap();
        assert!(frame.data_ref().unwrap().len() > large.len());
    }
    cluster.stop().await;
}

/// The workers of a caller in the process may never be idle. A watch that puts itself aside until they are would be told a little every
/// sixty turns of all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_watch_within_the_process_goes_on_beside_tasks_that_are_always_ready() {
    const OBJECTS: usize = 40;
    let cluster = start().await;
    let large = "x".repeat(40 << 10);
    for number in 0..OBJECTS {
        let object = config_map(&format!("m{number}"), &large);
        cluster.create(CONFIG_MAPS, object).await;
    }
    let path = format!("{CONFIG_MAPS}?watch=1");
    let response = cluster.send(Method::GET, &path, &[], None).await;
    let turns = Arc::new(AtomicUsize::new(0));
    let mut others = JoinSet::new();
    others.spawn({
        let turns = Arc::clone(&turns);
        async move {
            loop {
                turns.fetch_add(1, Ordering::Relaxed);
                base::requeue().await;
            }
        }
    });
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        let mut body = response.into_body();
        let mut next = async || body.frame().await.unwrap().unwrap();
        // Once the cache is as new as the store, an etcd's too, all of them are there.
        next().await;
        let before = turns.load(Ordering::Relaxed);
        for _ in 1..OBJECTS {
            next().await;
        }
        turns.load(Ordering::Relaxed) - before
    });
    let turns = reading.join_next().await.unwrap().unwrap();
    others.shutdown().await;
    assert!(turns < 10 * OBJECTS, "{turns}");
    cluster.stop().await;
}

#[tokio::test]
async fn dry_runs_say_what_would_be_and_leave_everything_as_it_is() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}?dryRun=All");
    let created = cluster.create(&path, config_map("d", "1")).await;
    assert_eq!(created["metadata"]["name"], "d");
    assert_eq!(
        cluster.get(&format!("{CONFIG_MAPS}/d")).await.0,
        StatusCode::NOT_FOUND
    );
    let mut held = config_map("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/f"]);
    cluster.create(CONFIG_MAPS, held.clone()).await;
    let own = format!("{CONFIG_MAPS}/held");
    cluster.json(Method::DELETE, &own, None).await;
    let (_, refusal) = cluster.json(Method::POST, &path, Some(held)).await;
    let message = "object is being deleted: configmaps \"held\" already exists";
    assert_eq!(refusal["message"], message);
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_sent_empty_is_judged_and_neither_owned_nor_kept() {
    let cluster = start().await;
    let path = "/api/v1/namespaces/default/persistentvolumeclaims";
    let reset = json!({"name": "c", "labels": {}, "finalizers": []});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}, "limits": {}}, "selector": {"matchExpressions": []}});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": reset, "spec": spec});
    let (code, made) = cluster.json(Method::POST, path, Some(claim)).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let shown = &made["spec"];
    assert_eq!(shown["selector"], json!({}));
    assert_eq!(shown["resources"], json!({"requests": {"storage": "1"}}));
    let owners = made["metadata"]["managedFields"].to_string();
    assert!(
        !owners.contains("f:limits") && !owners.contains("f:labels"),
        "{owners}"
    );
    let (_, again) = cluster.json(Method::GET, &format!("{path}/c"), None).await;
    assert_eq!(made, again);
    cluster.stop().await;
}

#[tokio::test]
async fn a_limit_range_without_a_name_gets_one() {
    let cluster = start().await;
    let path = "/api/v1/namespaces/default/limitranges";
    let nameless = json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": []}});
    let created = cluster.create(path, nameless).await;
    let name = created["metadata"]["name"].as_str().unwrap();
    assert_eq!(name.len(), 36, "{name}");
    let (status, _) = cluster.get(&format!("{path}/{name}")).await;
    assert_eq!(status, StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test]
async fn one_version_does_not_lose_what_only_the_other_has_fields_for() {
    let cluster = start().await;
    let path = |version: &str| {
        format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers")
    };
    let metrics = json!([{"type": "Resource", "resource": {
        "name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"},
    }}]);
    let autoscaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "metrics": metrics},
    });
    cluster.create(&path("v2"), autoscaler).await;
    let first = format!("{}/a", path("v1"));
    let (_, shown) = cluster.get(&first).await;
    let annotation = "autoscaling.alpha.kubernetes.io/metrics";
    assert!(shown["metadata"]["annotations"][annotation].is_string());
    let change = json!({"spec": {"maxReplicas": 3}});
    let (status, _) = cluster.json(Method::PATCH, &first, Some(change)).await;
    assert_eq!(status, StatusCode::OK);
    let (_, changed) = cluster.get(&format!("{}/a", path("v2"))).await;
    assert_eq!(changed["spec"]["maxReplicas"], 3);
    assert_eq!(changed["spec"]["metrics"], metrics);
    assert!(changed["metadata"].get("annotations").is_none());
    // Who changed the first version owns what it shows, and no annotation of the other's making.
    let owners = changed["metadata"]["managedFields"].as_array().unwrap();
    let owned = |version: &str| owners.iter().find(|o| o["apiVersion"] == version);
    let fields = &owned("autoscaling/v1").unwrap()["fieldsV1"];
    assert!(fields["f:spec"].get("f:maxReplicas").is_some(), "{fields}");
    assert!(
        fields["f:metadata"].get("f:annotations").is_none(),
        "{fields}"
    );
    cluster.stop().await;
}

/// Inside the server they are text on their way to the store and back; nobody outside sees that.
#[tokio::test]
async fn owned_fields_are_trees_to_clients() {
    let cluster = start().await;
    let path = format!("{CONFIG_MAPS}/owned");
    let owned =
        |object: &Value| object["metadata"]["managedFields"][0]["fieldsV1"]["f:data"].clone();
    let data = json!({".": {}, "f:k": {}});
    let created = cluster.create(CONFIG_MAPS, config_map("owned", "1")).await;
    assert_eq!(owned(&created), data);
    let preview = cluster
        .create(&format!("{CONFIG_MAPS}?dryRun=All"), config_map("no", "1"))
        .await;
    assert_eq!(owned(&preview), data);

    let send = |method: Method, path: &str, sent: &str, accepted: &str, body: Value| {
        let (path, sent, accepted) = (path.to_owned(), sent.to_owned(), accepted.to_owned());
        let cluster = &cluster;
        async move {
            let headers = [("content-type", &*sent), ("accept", &*accepted)];
            let answer = cluster.send(method, &path, &headers, Some(body)).await;
            let status = answer.status();
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            (status, bytes)
        }
    };
    let json_of = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let (merge, json_patch) = (
        "application/merge-patch+json",
        "application/json-patch+json",
    );
    let label = |value: &str| json!({"metadata": {"labels": {"l": value}}});
    let patch = |accepted: &str, query: &str, value: &str| {
        let path = format!("{path}{query}");
        send(Method::PATCH, &path, merge, accepted, label(value))
    };

    // Written, dry, without effect; as JSON, in protobuf, as a table.
    for (query, value) in [("", "1"), ("?dryRun=All", "2"), ("", "1")] {
        let (status, answer) = patch("application/json", query, value).await;
        assert_eq!(
            (status, owned(&json_of(&answer))),
            (StatusCode::OK, data.clone())
        );
        let (_, answer) = patch("application/vnd.kubernetes.protobuf", query, value).await;
        let gvk = apimachinery::gvk::GroupVersionKind::new("", "v1", "ConfigMap");
        let ty = api::facts::type_of(&gvk).unwrap();
        let envelope = apimachinery::protobuf::open(&answer).unwrap();
        let object =
            apimachinery::protobuf::decode(envelope.raw, ty, envelope.api_version, envelope.kind);
        assert_eq!(owned(&Value::Object(object.unwrap())), data);
        let table = "application/json;as=Table;g=meta.k8s.io;v=v1";
        let (_, answer) = patch(table, query, value).await;
        assert_eq!(owned(&json_of(&answer)["rows"][0]["object"]), data);
    }

    // Patches look into them.
    let first = "/metadata/managedFields/0/fieldsV1/f:data/f:k";
    let operations = json!([{"op": "test", "path": first, "value": {}}, {"op": "add", "path": "/data/m", "value": "1"}]);
    let (status, answer) = send(Method::PATCH, &path, json_patch, "*/*", operations).await;
    assert_eq!(status, StatusCode::OK, "{answer:?}");
    let wrong = json!([{"op": "test", "path": first, "value": {}}, {"op": "add", "path": "/data", "value": 1}]);
    let (status, answer) = send(Method::PATCH, &path, json_patch, "*/*", wrong).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let message = json_of(&answer)["message"].as_str().unwrap().to_owned();
    let shown = r#"\"fieldsV1\":{\"f:data\":{"#;
    assert!(message.contains(shown), "{message}");

    // A string is no set of fields: it is as if nothing had been sent.
    let (_, before) = cluster.get(&path).await;
    let mut sent = before.clone();
    sent["metadata"]["managedFields"][0]["fieldsV1"] = json!("{}");
    let (status, after) = cluster.json(Method::PUT, &path, Some(sent)).await;
    assert_eq!((status, &after), (StatusCode::OK, &before));
    // And what was sent as it is changes nothing.
    let (_, after) = cluster.json(Method::PUT, &path, Some(before.clone())).await;
    assert_eq!(after, before);
    let entries = json!([{"manager": "me", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": data}}]);
    let patched = json!({"metadata": {"managedFields": entries}});
    let (_, after) = cluster.json(Method::PATCH, &path, Some(patched)).await;
    assert_eq!(after["metadata"]["managedFields"], entries);

    // Marked, and gone.
    let finalizers = json!({"metadata": {"finalizers": ["example.com/f"]}});
    cluster.json(Method::PATCH, &path, Some(finalizers)).await;
    for _ in 0..2 {
        let (_, marked) = cluster.json(Method::DELETE, &path, None).await;
        assert_eq!(owned(&marked), data);
    }
    let finalizers = json!({"metadata": {"finalizers": []}});
    let (_, gone) = cluster.json(Method::PATCH, &path, Some(finalizers)).await;
    assert_eq!(owned(&gone), data);
    // Questions are shown with theirs, too.
    let review = json!({"metadata": {"name": "r"}, "spec": {"user": "u", "nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let (_, refusal) = cluster.json(Method::POST, reviews, Some(review)).await;
    let message = refusal["message"].as_str().unwrap_or_default();
    assert!(message.contains(r#""fieldsV1":{"f:spec":{"#));
    cluster.stop().await;
}

#[tokio::test]
async fn concurrent_patches_all_arrive() {
    let cluster = start().await;
    cluster.create(CONFIG_MAPS, config_map("busy", "1")).await;
    let path = format!("{CONFIG_MAPS}/busy");
    // No more at once than the seats that flow control gives to nobody in particular.
    let patches = (0..8).map(|n| {
        let mut data = serde_json::Map::new();
        data.insert(format!("k{n}"), json!("v"));
        cluster.json(Method::PATCH, &path, Some(json!({ "data": data })))
    });
    for (status, answer) in futures_util::future::join_all(patches).await {
        assert_eq!(status, StatusCode::OK, "{answer}");
    }
    let (_, object) = cluster.get(&path).await;
    assert_eq!(object["data"].as_object().unwrap().len(), 9);
    cluster.stop().await;
}

#[tokio::test]
async fn what_lies_in_the_future_is_waited_for_in_vain() {
    let cluster = start().await;
    cluster.create(CONFIG_MAPS, config_map("a", "1")).await;
    for path in ["/a?", "?", "?resourceVersionMatch=Exact&"] {
        let path = format!("{CONFIG_MAPS}{path}resourceVersion=999999999999");
        let (status, answer) = cluster.get(&path).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{path}: {answer}");
        let cause = &answer["details"]["causes"][0]["reason"];
        assert_eq!(cause, "ResourceVersionTooLarge", "{path}: {answer}");
    }
    cluster.stop().await;
}

#[tokio::test]
async fn a_watch_that_begins_with_what_there_is_tells_where_that_ends() {
    let cluster = start().await;
    for version in ["", "&resourceVersion=0"] {
        let path = "/api/v1/namespaces?watch=1&allowWatchBookmarks=true&labelSelector=nothing";
        let mut events = cluster.watch(&format!("{path}{version}")).await;
        let (kind, mut bookmark) = events.next().await;
        assert_eq!(kind, "BOOKMARK");
        bookmark["metadata"]["resourceVersion"].take();
        assert_eq!(
            bookmark,
            json!({
                "kind": "Namespace", "apiVersion": "v1", "spec": {}, "status": {},
                "metadata": {
                    "resourceVersion": null, "annotations": {"k8s.io/initial-events-end": "true"},
                },
            })
        );
    }
    cluster.stop().await;
}

/// Short lists are kept as they were measured, long ones are encoded again while they are sent: either way they say what JSON says.
#[tokio::test]
async fn lists_in_protobuf_say_what_those_in_json_say() {
    let cluster = start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    let gvk = apimachinery::gvk::GroupVersionKind::new("", "v1", "ConfigMapList");
    let ty = api::facts::type_of(&gvk).unwrap();
    for (round, size) in [10, 400 << 10].into_iter().enumerate() {
        for number in 0..4 {
            let object = json!({
                "metadata": {
                    "name": format!("m-{round}-{number}"),
                    "labels": { "app": "a" },
                    "annotations": { "example.com/a": "é\"\n" },
                },
                "data": { "text": "x".repeat(size) },
                "binaryData": { "b": "AQI=" },
            });
            cluster.create(path, object).await;
        }
        let protobuf = [("accept", "application/vnd.kubernetes.protobuf")];
        let answer = cluster.send(Method::GET, path, &protobuf, None).await;
        assert_eq!(answer.status(), StatusCode::OK);
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let envelope = apimachinery::protobuf::open(&bytes).unwrap();
        let list =
            apimachinery::protobuf::decode(envelope.raw, ty, envelope.api_version, envelope.kind)
                .unwrap();
        let (_, json) = cluster.get(path).await;
        assert_eq!(Value::Object(list)["items"], json["items"]);
        let expected = 4 * (round + 1);
        let mine = json["items"].as_array().unwrap().iter();
        let mine = mine.filter(|item| item["metadata"]["labels"]["app"] == "a");
        assert_eq!(mine.count(), expected);
    }
    cluster.stop().await;
}

/// Small objects are copied into a list, large ones are sent from where they lie.
#[tokio::test]
async fn a_list_says_what_its_objects_say() {
    let cluster = start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    for (number, size) in [10, 5_000, 20, 300_000, 3_000].into_iter().enumerate() {
        let object = json!({
            "metadata": { "name": format!("m-{number}"), "labels": { "app": "a" } },
            "data": { "text": "é".repeat(size) },
        });
        cluster.create(path, object).await;
    }
    let selected = format!("{path}?labelSelector=app");
    let (_, list) = cluster.get(&selected).await;
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 5);
    for item in items {
        let name = item["metadata"]["name"].as_str().unwrap();
        let (_, mut object) = cluster.get(&format!("{path}/{name}")).await;
        let object = object.as_object_mut().unwrap();
        object.remove("kind");
        object.remove("apiVersion");
        assert_eq!(item.as_object().unwrap(), object);
    }
    let gzip = [("accept-encoding", "gzip")];
    let answer = cluster.send(Method::GET, &selected, &gzip, None).await;
    assert_eq!(answer.headers()["content-encoding"], "gzip");
    let compressed = answer.into_body().collect().await.unwrap().to_bytes();
    let reader = flate2::read::GzDecoder::new(&*compressed);
    let again: Value = serde_json::from_reader(reader).unwrap();
    assert_eq!(again["items"], list["items"]);
    cluster.stop().await;
}

#[tokio::test]
async fn the_servers_own_objects_tell_which_part_of_it_made_them() {
    let cluster = start().await;
    let managers = async |path: &str| {
        let (status, object) = cluster.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        let managed = object["metadata"]["managedFields"].as_array().unwrap();
        let names = managed
            .iter()
            .filter(|entry| entry["subresource"].is_null());
        names
            .map(|entry| entry["manager"].clone())
            .collect::<Vec<_>>()
    };
    let level = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/system";
    assert_eq!(
        managers(level).await,
        ["api-priority-and-fairness-config-producer-v1"]
    );
    assert_eq!(
        managers("/api/v1/namespaces/kube-public").await,
        ["kube-apiserver"]
    );
    cluster.stop().await;
}
