//! Claims and volumes.

use client::{Object as _, Store};
use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};

use crate::{decode, harness::ControlPlane};

fn volume(name: &str, path: &str, policy: &str) -> PersistentVolume {
    decode(&json!({"metadata": {"name": name}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
        "persistentVolumeReclaimPolicy": policy, "hostPath": {"path": path},
    }}))
}

fn claim_spec() -> Value {
    json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "manual",
        "resources": {"requests": {"storage": "1Gi"}},
    })
}

fn is_bound(store: &Store<PersistentVolumeClaim>, name: &str) -> bool {
    store.get("default", name).is_some_and(|claim| {
        let status = claim.status.clone().unwrap_or_default();
        status.phase.as_deref() == Some("Bound") && status.capacity.is_some()
    })
}

fn phase_of(store: &Store<PersistentVolume>, name: &str) -> Option<String> {
    store.get("", name)?.status.as_ref()?.phase.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_bound_held_while_it_is_used_and_released() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let volumes = plane.client.api::<PersistentVolume>("");
    let claims = plane.client.api::<PersistentVolumeClaim>("default");
    let directory = tempfile::Builder::new()
        .prefix("claim-")
        .tempdir_in("/tmp")
        .unwrap();
    let path = directory.path().join("data");
    std::fs::create_dir(&path).unwrap();
    volumes
        .create(&volume("disk", path.to_str().unwrap(), "Delete"))
        .await
        .unwrap();
    let claim: PersistentVolumeClaim =
        decode(&json!({"metadata": {"name": "data"}, "spec": claim_spec()}));
    claims.create(&claim).await.unwrap();
    plane
        .wait::<PersistentVolumeClaim>("the claim is bound", |store| is_bound(store, "data"))
        .await;
    plane
        .wait::<PersistentVolume>("the volume is bound", |store| {
            phase_of(store, "disk").as_deref() == Some("Bound")
        })
        .await;

    let pod: Pod = decode(&json!({"metadata": {"name": "user"}, "spec": {
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
    }}));
    let pods = plane.client.api::<Pod>("default");
    pods.create(&pod).await.unwrap();
    plane
        .wait::<Pod>("the pod runs", |store| {
            let pod = store.get("default", "user");
            pod.is_some_and(|pod| pod.status.as_ref().is_some_and(|s| s.pod_ip.is_some()))
        })
        .await;
    claims
        .delete("data", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<PersistentVolumeClaim>("the claim is held", |store| {
            let claim = store.get("default", "data");
            claim.is_some_and(|claim| claim.is_being_deleted())
        })
        .await;
    pods.delete("user", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<PersistentVolumeClaim>("the claim is gone", |store| store.is_empty())
        .await;
    plane
        .wait::<PersistentVolume>("so is the volume", |store| store.is_empty())
        .await;
    assert!(!path.exists(), "what was on it is deleted");
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_volume_lives_as_long_as_its_pod() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let volumes = plane.client.api::<PersistentVolume>("");
    volumes
        .create(&volume("kept", "/srv/kept", "Retain"))
        .await
        .unwrap();
    let pod: Pod = decode(&json!({"metadata": {"name": "user"}, "spec": {
        "containers": [{"name": "c", "image": "i"}],
        "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": {
            "metadata": {"labels": {"of": "user"}}, "spec": claim_spec(),
        }}}],
    }}));
    let pods = plane.client.api::<Pod>("default");
    pods.create(&pod).await.unwrap();
    plane
        .wait::<PersistentVolumeClaim>("its claim is bound", |store| {
            is_bound(store, "user-scratch")
                && store.get("default", "user-scratch").unwrap().label("of") == Some("user")
        })
        .await;
    pods.delete("user", &DeleteOptions::default())
        .await
        .unwrap();
    plane
        .wait::<PersistentVolumeClaim>("the claim goes with it", |store| store.is_empty())
        .await;
    plane
        .wait::<PersistentVolume>("the volume is kept", |store| {
            phase_of(store, "kept").as_deref() == Some("Released")
        })
        .await;
    plane.stop().await;
}
