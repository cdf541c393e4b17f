//! DefaultBinder: binds through the pod's `binding` subresource.

use async_trait::async_trait;
use client::Client;
use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    framework::{Bind, CycleState, Plugin, Verdict},
    pod_info::PodInfo,
};

pub(super) struct DefaultBinder {
    client: Client,
}

impl DefaultBinder {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }
}

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }
    fn bind(&self) -> Option<&dyn Bind> {
        Some(self)
    }
}

#[async_trait]
impl Bind for DefaultBinder {
    async fn bind(&self, _: &CycleState, pod: &PodInfo, node: &str) -> Verdict {
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(pod.name.clone()),
                namespace: Some(pod.namespace.clone()),
                // A pod of the same name that took its place meanwhile must not be bound.
                uid: Some(pod.uid.clone()),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let pods = self.client.api::<Pod>(&pod.namespace);
        match pods.bind(&pod.name, &binding).await {
            Ok(()) => Verdict::Success,
            Err(error) => Verdict::Error(format!("binding rejected: {error}")),
        }
    }
}
