//! `/pods`: what the kubelet was told to run, with statuses; `/runningpods/`: what the runtime runs.

use cri::v1::{ListContainersRequest, ListPodSandboxRequest, PodSandboxState};
use http::Response;
use serde_json::{Value, json};

use super::{
    body::{self, Body, Refusal},
    router::Router,
};

pub(super) fn list(router: &Router) -> Result<Response<Body>, Refusal> {
    body::json(&pod_list(&router.host.pods()))
}

pub(super) async fn running(router: &Router) -> Result<Response<Body>, Refusal> {
    let runtime = router.host.runtime();
    let sandboxes = runtime
        .list_pod_sandbox(ListPodSandboxRequest::default())
        .await?
        .items;
    let containers = runtime
        .list_containers(ListContainersRequest::default())
        .await?
        .containers;
    let pods: Vec<Value> = sandboxes
        .iter()
        .filter(|sandbox| sandbox.state() == PodSandboxState::SandboxReady)
        .map(|sandbox| {
            let meta = sandbox.metadata.clone().unwrap_or_default();
            let containers: Vec<Value> = containers
                .iter()
                .filter(|container| {
                    container.pod_sandbox_id == sandbox.id
                        && container.state() == cri::v1::ContainerState::ContainerRunning
                })
                .map(|container| {
                    let name = container.metadata.as_ref().map(|meta| meta.name.as_str());
                    let image = container.image.as_ref().map(|image| image.image.as_str());
                    json!({ "name": name, "image": image, "resources": {} })
                })
                .collect();
            json!({
                "metadata": {
                    "name": meta.name, "namespace": meta.namespace, "uid": meta.uid,
                    "creationTimestamp": null,
                },
                "spec": { "containers": containers },
                "status": {},
            })
        })
        .collect();
    body::json(&pod_list(&pods))
}

fn pod_list(items: &impl serde::Serialize) -> Value {
    json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items })
}
