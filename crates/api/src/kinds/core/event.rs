//! `v1` Event.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "events"),
    gvk: GroupVersionKind::new("", "v1", "Event"),
    singular: "event",
    scope: Scope::Namespaced,
    short_names: &["ev"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("events")),
    strategy: &EventStrategy,
};

#[derive(Debug)]
struct EventStrategy;

impl Strategy for EventStrategy {
    fn default(&self, object: &mut Object) {
        default(object);
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let empty = Object::new();
        let involved = object.object("involvedObject").unwrap_or(&empty);
        let mut source = object.object("source").map_or("", |s| s.text("component"));
        if source.is_empty() {
            source = object.text("reportingComponent");
        }
        let text = |s: &str| s.to_owned();
        vec![
            ("involvedObject.kind", text(involved.text("kind"))),
            ("involvedObject.namespace", text(involved.text("namespace"))),
            ("involvedObject.name", text(involved.text("name"))),
            ("involvedObject.uid", text(involved.text("uid"))),
            (
                "involvedObject.apiVersion",
                text(involved.text("apiVersion")),
            ),
            (
                "involvedObject.resourceVersion",
                text(involved.text("resourceVersion")),
            ),
            ("involvedObject.fieldPath", text(involved.text("fieldPath"))),
            ("reason", text(object.text("reason"))),
            (
                "reportingComponent",
                text(object.text("reportingComponent")),
            ),
            ("source", text(source)),
            ("type", text(object.text("type"))),
        ]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(
            field,
            "metadata.name"
                | "metadata.namespace"
                | "reason"
                | "reportingComponent"
                | "source"
                | "type"
                | "involvedObject.kind"
                | "involvedObject.namespace"
                | "involvedObject.name"
                | "involvedObject.uid"
                | "involvedObject.apiVersion"
                | "involvedObject.resourceVersion"
                | "involvedObject.fieldPath"
        )
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
}

/// What is always written. Also for what comes in as `events.k8s.io`.
pub fn default(event: &mut Object) {
    event.ensure_object("involvedObject");
    event.ensure_object("source");
    for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
        event.set_default(field, Value::Null);
    }
    for field in ["reportingComponent", "reportingInstance"] {
        event.set_default(field, "");
    }
}
