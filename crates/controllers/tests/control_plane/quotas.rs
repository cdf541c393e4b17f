//! Quotas: what they say is used follows what there is, and admission refuses beyond it.

use std::sync::Arc;

use base::TaskGroup;
use client::{DeleteOptionsExt as _, Kind as _, Object as _, Patch, Store, Transport};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Namespace, Pod, ResourceQuota, Secret, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{decode, harness::ControlPlane, late::Late};

const TEAM: &str = "team";

fn secret(name: &str) -> Secret {
    decode(&json!({"metadata": {"name": name}}))
}

fn pod(name: &str) -> Pod {
    decode(&json!({"metadata": {"name": name}, "spec": {"containers": [
        {"name": "c", "image": "i", "resources": {"requests": {"cpu": "600m"}}}]}}))
}

async fn quota(plane: &ControlPlane, hard: Value) {
    let quota: ResourceQuota = decode(&json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}));
    let api = plane.client.api::<ResourceQuota>(TEAM);
    api.create(&quota).await.unwrap();
}

/// Waits until the quota says that so much is used.
async fn used(plane: &ControlPlane, what: &str, used: Value) {
    let says = |store: &Store<ResourceQuota>| {
        let quota = store.get(TEAM, "q")?;
        let quota: Value = serde_json::from_slice(&quota.to_json()).unwrap();
        let status = quota.get("status")?;
        Some(status["hard"] == quota["spec"]["hard"] && status["used"] == used)
    };
    plane
        .wait::<ResourceQuota>(what, |store| says(store) == Some(true))
        .await;
}

async fn start() -> ControlPlane {
    start_by(|transport| transport).await
}

async fn start_by(way: impl Fn(Arc<dyn Transport>) -> Arc<dyn Transport>) -> ControlPlane {
    let plane = ControlPlane::start_by(controllers::Config::default(), way).await;
    let team: Namespace = decode(&json!({"metadata": {"name": TEAM}}));
    plane
        .client
        .api::<Namespace>("")
        .create(&team)
        .await
        .unwrap();
    plane
        .wait::<ServiceAccount>("the team's service account", |store| {
            store.get(TEAM, "default").is_some()
        })
        .await;
    plane
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_frees_what_the_controller_has_not_heard_of_being_used() {
    let (time, is_time) = watch::channel(true);
    let tasks = TaskGroup::default();
    let plane = start_by(|transport| {
        Arc::new(Late {
            transport,
            resource: "/resourcequotas",
            is_time: is_time.clone(),
            tasks: tasks.clone(),
        })
    })
    .await;
    quota(&plane, json!({"secrets": "5"})).await;
    used(&plane, "there is none", json!({"secrets": "0"})).await;
    // Admission counts; the controller sees the quota as it was.
    time.send_replace(false);
    let secrets = plane.client.api::<Secret>(TEAM);
    secrets.create(&secret("a")).await.unwrap();
    used(&plane, "one is", json!({"secrets": "1"})).await;
    secrets
        .delete("a", &DeleteOptions::default())
        .await
        .unwrap();
    used(&plane, "none is again", json!({"secrets": "0"})).await;
    tasks.shutdown().await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_is_bounded_and_freed() {
    let plane = start().await;
    let secrets = plane.client.api::<Secret>(TEAM);
    secrets.create(&secret("before")).await.unwrap();
    quota(
        &plane,
        json!({"secrets": "2", "count/deployments.apps": "1", "count/serviceaccounts": "5"}),
    )
    .await;
    let says = |secrets: &str, deployments: &str| json!({"secrets": secrets, "count/deployments.apps": deployments, "count/serviceaccounts": "1"});
    used(&plane, "what was there before", says("1", "0")).await;

    secrets.create(&secret("second")).await.unwrap();
    let refused = secrets.create(&secret("third")).await.unwrap_err();
    assert!(
        refused.to_string().contains(
            "secrets \"third\" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=2, limited: secrets=2"
        ),
        "{refused}"
    );
    secrets
        .delete("before", &DeleteOptions::default())
        .await
        .unwrap();
    used(&plane, "a deletion frees", says("1", "0")).await;
    secrets.create(&secret("third")).await.unwrap();

    let deployments = plane.client.api::<Deployment>(TEAM);
    let mut none = crate::deployment("none", 0, "i");
    none.metadata.namespace = None;
    deployments.create(&none).await.unwrap();
    used(&plane, "a deployment is counted", says("2", "1")).await;
    let options = DeleteOptions::propagation("Background");
    deployments.delete(none.name(), &options).await.unwrap();
    used(&plane, "its deletion frees", says("2", "0")).await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_has_ended_uses_nothing() {
    let plane = start().await;
    quota(
        &plane,
        json!({"pods": "5", "requests.cpu": "1", "count/pods": "5"}),
    )
    .await;
    let says = |pods: &str, cpu: &str, all: &str| json!({"pods": pods, "requests.cpu": cpu, "count/pods": all});
    used(&plane, "nothing is used", says("0", "0", "0")).await;
    let pods = plane.client.api::<Pod>(TEAM);
    pods.create(&pod("first")).await.unwrap();
    let refused = pods.create(&pod("second")).await.unwrap_err();
    assert!(
        refused.to_string().contains(
            "exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
        ),
        "{refused}"
    );
    let phase = |store: &Store<Pod>| store.get(TEAM, "first")?.status.clone()?.phase;
    plane
        .wait::<Pod>("the pod runs", |store| {
            phase(store).as_deref() == Some("Running")
        })
        .await;
    let ended = Patch::Strategic(json!({"status": {"phase": "Succeeded"}}));
    pods.patch_status("first", &ended).await.unwrap();
    used(&plane, "it has ended", says("0", "0", "1")).await;
    pods.create(&pod("second")).await.unwrap();
    pods.delete("first", &DeleteOptions::grace_period(0))
        .await
        .unwrap();
    used(&plane, "it is gone", says("1", "600m", "1")).await;
    plane.stop().await;
}
