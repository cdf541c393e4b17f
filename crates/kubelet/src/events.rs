//! Events about pods and the node, recorded where users look for them.

use client::{EventRecorder, EventType};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};

use crate::pod::{CONFIG_MIRROR, ContainerKind, annotation, name, namespace, uid};

/// Normal or warning.
pub use client::EventType as EventKind;

/// Records events of the kubelet; without an API server they fall away. Cheap to clone.
#[derive(Clone, Default)]
pub struct PodEvents {
    recorder: Option<EventRecorder>,
}

impl PodEvents {
    /// Into this recorder.
    pub fn new(recorder: Option<EventRecorder>) -> Self {
        Self { recorder }
    }

    /// About a whole pod.
    pub fn pod(&self, pod: &Pod, event: EventType, reason: &str, message: impl Into<String>) {
        self.record(reference(pod, None), event, reason, message.into());
    }

    /// About one container.
    pub fn container(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &str,
        event: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.record(
            reference(pod, Some(kind.field_path(container))),
            event,
            reason,
            message.into(),
        );
    }

    /// About the node, whose uid in events is its name, as upstream has it.
    pub fn node(&self, node: &str, event: EventType, reason: &str, message: impl Into<String>) {
        let reference = ObjectReference {
            kind: Some("Node".to_owned()),
            name: Some(node.to_owned()),
            uid: Some(node.to_owned()),
            ..ObjectReference::default()
        };
        self.record(reference, event, reason, message.into());
    }

    fn record(&self, object: ObjectReference, event: EventType, reason: &str, message: String) {
        tracing::debug!(object = object.name, reason, message, "event");
        if let Some(recorder) = &self.recorder {
            recorder.event_ref(object, event, reason, &message);
        }
    }
}

fn reference(pod: &Pod, field_path: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace(pod).to_owned()),
        name: Some(name(pod).to_owned()),
        // Events of a static pod are to be found at its mirror, whose uid users see.
        uid: Some(
            annotation(pod, CONFIG_MIRROR)
                .unwrap_or(uid(pod))
                .to_owned(),
        ),
        resource_version: pod.metadata.resource_version.clone(),
        field_path,
    }
}
