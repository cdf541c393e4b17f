//! StatefulSets and DaemonSets: pods that are told apart.

use client::{Kind as _, Object as _, Patch};
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, StatefulSet},
        core::v1::{Node, PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::json;

use crate::{decode, harness::ControlPlane, image_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_statefulset_keeps_names_order_and_claims() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let api = plane.client.api::<StatefulSet>("default");
    let set: StatefulSet = decode(&json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {
            "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {"containers": [{"name": "c", "image": "image:1"}]},
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }],
        },
    }));
    api.create(&set).await.unwrap();
    let names = |store: &client::Store<Pod>| -> Vec<String> {
        store
            .list()
            .iter()
            .map(|pod| pod.name().to_owned())
            .collect()
    };
    plane
        .wait::<StatefulSet>("three ready", |store| {
            store
                .get("default", "db")
                .and_then(|set| set.status.clone())
                .and_then(|status| status.ready_replicas)
                == Some(3)
        })
        .await;
    assert_eq!(
        names(plane.informers.informer::<Pod>().store()),
        ["db-0", "db-1", "db-2"]
    );
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "image:2"}]}}}});
    api.patch("db", &Patch::Strategic(image)).await.unwrap();
    plane
        .wait::<StatefulSet>("the update is through", |store| {
            let status = store
                .get("default", "db")
                .and_then(|set| set.status.clone())
                .unwrap_or_default();
            status.current_revision == status.update_revision
                && status.updated_replicas == Some(3)
                && status.observed_generation == Some(2)
        })
        .await;
    plane
        .wait::<Pod>("all of the second template", |store| {
            store.len() == 3 && store.list().iter().all(|pod| image_of(pod) == "image:2")
        })
        .await;
    api.patch("db", &Patch::Merge(json!({"spec": {"replicas": 1}})))
        .await
        .unwrap();
    plane
        .wait::<Pod>("one is left", |store| names(store) == ["db-0"])
        .await;
    let claims = plane.client.api::<PersistentVolumeClaim>("default");
    let claims = claims
        .list(&client::ListParams::default())
        .await
        .unwrap()
        .items;
    assert_eq!(claims.len(), 3, "claims stay");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemonset_has_a_pod_on_each_node() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let api = plane.client.api::<DaemonSet>("default");
    let set: DaemonSet = decode(&json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}},
            "template": {
                "metadata": {"labels": {"app": "agent"}},
                "spec": {"containers": [{"name": "c", "image": "image:1"}]},
            },
        },
    }));
    api.create(&set).await.unwrap();
    plane
        .wait::<DaemonSet>("ready on the one node", |store| {
            store
                .get("default", "agent")
                .and_then(|set| set.status.clone())
                .is_some_and(|status| status.number_ready == 1)
        })
        .await;
    let history = plane.client.api::<ControllerRevision>("default");
    let history = history.list(&client::ListParams::default()).await;
    let revision = history.unwrap().items.remove(0);
    let pods = plane.informers.informer::<Pod>().store().list();
    let hash = "controller-revision-hash";
    assert!(revision.label(hash).is_some(), "{:?}", revision.metadata);
    assert_eq!(revision.label(hash), pods[0].label(hash));
    plane.create_node("node-2").await;
    plane.start_kubelet("node-2");
    plane
        .wait::<Pod>("a pod tied to the new node", |store| {
            store.len() == 2
                && store.list().iter().any(|pod| {
                    let spec = String::from_utf8(pod.to_json()).unwrap();
                    spec.contains("node-2") && spec.contains("matchFields")
                })
        })
        .await;
    let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "image:2"}]}}}});
    api.patch("agent", &Patch::Strategic(image)).await.unwrap();
    plane
        .wait::<Pod>("the update reaches all", |store| {
            store.len() == 2 && store.list().iter().all(|pod| image_of(pod) == "image:2")
        })
        .await;
    plane
        .client
        .api::<Node>("")
        .delete("node-2", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<DaemonSet>("one again", |store| {
            let status = store
                .get("default", "agent")
                .and_then(|set| set.status.clone())
                .unwrap_or_default();
            status.desired_number_scheduled == 1 && status.updated_number_scheduled == Some(1)
        })
        .await;
    plane.stop().await;
}
