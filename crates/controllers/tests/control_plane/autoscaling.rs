//! The horizontal pod autoscaler. What serves the metrics here is a custom resource of the same group and name.

use client::{Object as _, Patch, Request, Store};
use http::Method;
use k8s_openapi::api::{
    apps::v1::Deployment, autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod,
};
use serde_json::{Value, json};

use crate::{decode, deployment, harness::ControlPlane};

/// `metrics.k8s.io/v1beta1`, kept by hand.
fn pod_metrics_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "pods.metrics.k8s.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": "metrics.k8s.io", "scope": "Namespaced",
            "names": {"plural": "pods", "singular": "podmetrics", "kind": "PodMetrics", "listKind": "PodMetricsList"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })
}

async fn post(plane: &ControlPlane, path: &str, object: &Value) -> Result<(), client::ApiError> {
    let request = Request::json(Method::POST, path, object.to_string());
    plane.client.request(request).await.map(drop)
}

async fn measure(plane: &ControlPlane, pod: &Pod, cpu: &str) {
    let path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
    let metrics = json!({
        "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics",
        "metadata": {"name": pod.name(), "labels": pod.labels()},
        "timestamp": "2036-01-01T00:00:00Z", "window": "15s",
        "containers": [{"name": "c", "usage": {"cpu": cpu, "memory": "10Mi"}}],
    });
    // The resource is served some moments after its definition was made.
    for _ in 0..200 {
        match post(plane, path, &metrics).await {
            Ok(()) => return,
            Err(error) if error.is_not_found() => {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the metrics API is not served");
}

fn condition(store: &Store<HorizontalPodAutoscaler>, kind: &str) -> Option<String> {
    let status = store.get("default", "web")?.status.clone()?;
    let mut conditions = status.conditions?.into_iter();
    conditions.find(|condition| condition.type_ == kind)?.reason
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_what_the_pods_use() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let mut web = deployment("web", 1, "image:1");
    let template = web.spec.as_mut().unwrap().template.spec.as_mut().unwrap();
    template.containers[0].resources =
        Some(serde_json::from_value(json!({"requests": {"cpu": "100m"}})).unwrap());
    plane
        .client
        .api::<Deployment>("default")
        .create(&web)
        .await
        .unwrap();
    let autoscaler: HorizontalPodAutoscaler = decode(
        &json!({"metadata": {"name": "web"}, "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 2, "maxReplicas": 5,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}],
        }}),
    );
    let api = plane.client.api::<HorizontalPodAutoscaler>("default");
    api.create(&autoscaler).await.unwrap();
    let running = |count: usize| {
        move |store: &Store<Pod>| {
            let pods = store.list_namespace("default");
            pods.len() == count
                && pods.iter().all(|pod| {
                    pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
                })
        }
    };
    plane
        .wait::<Pod>("the least number of pods", running(2))
        .await;
    // A change of its spec makes it look at once.
    let look_again = |most: i32| Patch::Merge(json!({"spec": {"maxReplicas": most}}));
    api.patch("web", &look_again(6)).await.unwrap();
    plane
        .wait::<HorizontalPodAutoscaler>("nobody serves metrics", |store| {
            condition(store, "ScalingActive").as_deref() == Some("FailedGetResourceMetric")
        })
        .await;

    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    post(&plane, definitions, &pod_metrics_definition())
        .await
        .unwrap();
    let started = json!({"status": {"startTime": "2026-01-01T00:00:00Z"}});
    for pod in plane.informers.informer::<Pod>().store().list() {
        let pods = plane.client.api::<Pod>("default");
        pods.patch_status(pod.name(), &Patch::Strategic(started.clone()))
            .await
            .unwrap();
        measure(&plane, &pod, "100m").await;
    }
    api.patch("web", &look_again(5)).await.unwrap();
    plane
        .wait::<Pod>("as many as the use needs", running(4))
        .await;
    plane
        .wait::<HorizontalPodAutoscaler>("it says so", |store| {
            let status = store.get("default", "web").and_then(|h| h.status.clone());
            condition(store, "AbleToScale").as_deref() == Some("SucceededRescale")
                && status.is_some_and(|s| s.desired_replicas == 4 && s.last_scale_time.is_some())
        })
        .await;
    plane.stop().await;
}
