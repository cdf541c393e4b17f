//! The scheduler against a real API server.

#![allow(
    clippy::unwrap_used,
    reason = "tests; the lint only knows functions marked as such"
)]

mod harness;

use client::{Object as _, Patch, Store};
use k8s_openapi::api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use self::harness::ControlPlane;

fn pod(name: &str, cpu: &str, more: Value) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
        "spec": {"containers": [{
            "name": "c", "image": "image", "resources": {"requests": {"cpu": cpu}},
        }]},
    });
    let spec = pod["spec"].as_object_mut().unwrap();
    spec.extend(more.as_object().cloned().unwrap_or_default());
    pod
}

fn node_of(store: &Store<Pod>, name: &str) -> Option<String> {
    let pod = store.get("default", name)?;
    pod.spec.as_ref()?.node_name.clone()
}

fn scheduled_condition(store: &Store<Pod>, name: &str) -> Option<(String, String)> {
    let pod = store.get("default", name)?;
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|c| c.type_ == "PodScheduled")?;
    Some((
        condition.status.clone(),
        condition.message.clone().unwrap_or_default(),
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_higher_priority_gets_room() {
    let plane = ControlPlane::start().await;
    plane.create_node("n1", "2", json!({})).await;
    for (name, value) in [("low", 10), ("high", 1000)] {
        plane
            .create(&json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
                "metadata": {"name": name}, "value": value,
            }))
            .await;
    }
    let low = json!({"priorityClassName": "low"});
    for name in ["a", "b"] {
        plane.create(&pod(name, "1", low.clone())).await;
    }
    plane
        .wait::<Pod>("both low pods are bound", |store| {
            ["a", "b"].iter().all(|name| node_of(store, name).is_some())
        })
        .await;
    // It may not preempt its like.
    plane.create(&pod("c", "1", low)).await;
    let expected = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: \
                    1 No preemption victims found for incoming pod.";
    plane
        .wait::<Pod>("c is refused", |store| {
            scheduled_condition(store, "c") == Some(("False".to_owned(), expected.to_owned()))
        })
        .await;
    let high = json!({"priorityClassName": "high"});
    plane.create(&pod("vip", "2", high)).await;
    plane
        .wait::<Pod>("the high pod has taken their place", |store| {
            node_of(store, "vip").as_deref() == Some("n1")
                && store.get("default", "a").is_none()
                && store.get("default", "b").is_none()
        })
        .await;
    plane
        .wait::<Pod>("its nomination is gone", |store| {
            let vip = store.get("default", "vip");
            vip.is_some_and(|pod| pod.status.as_ref().unwrap().nominated_node_name.is_none())
        })
        .await;
    plane
        .wait::<Event>("the victims are told", |store| {
            let events = store.list();
            let mut told = events.iter().filter(|event| {
                event.reason.as_deref() == Some("Preempted")
                    && event.message.as_deref().is_some_and(|message| {
                        message.starts_with("Preempted by pod ") && message.ends_with(" on node n1")
                    })
            });
            told.nth(1).is_some()
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn victims_say_why_they_go() {
    let plane = ControlPlane::start().await;
    plane.create_node("n1", "1", json!({})).await;
    plane
        .create(&json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": "high"}, "value": 1000,
        }))
        .await;
    // Something holds on to the victim, so that it can be looked at.
    let mut victim = pod("victim", "1", json!({}));
    victim["metadata"]["finalizers"] = json!(["example.com/look"]);
    plane.create(&victim).await;
    plane
        .wait::<Pod>("the victim is bound", |store| {
            node_of(store, "victim").is_some()
        })
        .await;
    plane
        .create(&pod("vip", "1", json!({"priorityClassName": "high"})))
        .await;
    plane
        .wait::<Pod>("the victim says why, and the other waits for the node", |store| {
            let victim = store.get("default", "victim").unwrap();
            let conditions = victim.status.as_ref().and_then(|s| s.conditions.clone());
            let told = conditions.into_iter().flatten().any(|condition| {
                condition.type_ == "DisruptionTarget"
                    && condition.status == "True"
                    && condition.reason.as_deref() == Some("PreemptionByScheduler")
                    && condition.message.as_deref()
                        == Some("default-scheduler: preempting to accommodate a higher priority pod")
            });
            let vip = store.get("default", "vip");
            let nominated = vip.and_then(|vip| vip.status.as_ref()?.nominated_node_name.clone());
            told && victim.is_being_deleted() && nominated.as_deref() == Some("n1")
        })
        .await;
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    plane
        .client
        .api::<Pod>("default")
        .patch("victim", &release)
        .await
        .unwrap();
    plane
        .wait::<Pod>("the room is taken", |store| {
            node_of(store, "vip").as_deref() == Some("n1")
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waits_for_its_consumer_gets_the_volume_of_the_chosen_node() {
    let plane = ControlPlane::start().await;
    for name in ["n1", "n2"] {
        plane.create_node(name, "4", json!({"host": name})).await;
    }
    plane
        .create(&json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "local"},
            "provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer",
        }))
        .await;
    plane
        .create(&json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v2"},
            "spec": {
                "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "storageClassName": "local", "local": {"path": "/data"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                    {"key": "host", "operator": "In", "values": ["n2"]},
                ]}]}},
            },
        }))
        .await;
    let volumes = plane.client.api::<PersistentVolume>("");
    let available = Patch::Merge(json!({"status": {"phase": "Available"}}));
    volumes.patch_status("v2", &available).await.unwrap();
    let using = json!({"volumes": [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
    ]});
    plane.create(&pod("p", "1", using)).await;
    plane
        .wait::<Pod>("the pod waits for its claim", |store| {
            scheduled_condition(store, "p").is_some_and(|(_, message)| {
                message.contains("persistentvolumeclaim \"data\" not found")
            })
        })
        .await;
    plane
        .create(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }))
        .await;
    plane
        .wait::<PersistentVolume>("the volume is meant for the claim", |store| {
            store.get("", "v2").is_some_and(|volume| {
                let reference = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref());
                reference.and_then(|r| r.name.as_deref()) == Some("data")
                    && volume.annotation("pv.kubernetes.io/bound-by-controller") == Some("yes")
            })
        })
        .await;
    // What the volume controller does then.
    let bound = Patch::Merge(json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": "v2"},
    }));
    plane
        .client
        .api::<PersistentVolumeClaim>("default")
        .patch("data", &bound)
        .await
        .unwrap();
    plane
        .wait::<Pod>("the pod is where the volume is", |store| {
            node_of(store, "p").as_deref() == Some("n2")
        })
        .await;
    plane.stop().await;
}
