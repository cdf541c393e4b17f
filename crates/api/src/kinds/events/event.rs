//! `events.k8s.io/v1` Event: the same objects as the core group's, under other names.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Hub, Resource, Scope, Storage, Strategy, verbs},
    kinds::core::event,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("events.k8s.io", "v1", "events"),
    gvk: GroupVersionKind::new("events.k8s.io", "v1", "Event"),
    singular: "event",
    scope: Scope::Namespaced,
    short_names: &["ev"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage {
        prefix: "events",
        hub: Some(Hub {
            gvk: GroupVersionKind::new("", "v1", "Event"),
            to_hub,
            from_hub,
        }),
    }),
    strategy: &EventStrategy,
};

#[derive(Debug)]
struct EventStrategy;

impl Strategy for EventStrategy {
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let empty = Object::new();
        let involved = object.object("involvedObject").unwrap_or(&empty);
        let mut source = object.object("source").map_or("", |s| s.text("component"));
        if source.is_empty() {
            source = object.text("reportingComponent");
        }
        let text = |s: &str| s.to_owned();
        vec![
            ("regarding.kind", text(involved.text("kind"))),
            ("regarding.namespace", text(involved.text("namespace"))),
            ("regarding.name", text(involved.text("name"))),
            ("regarding.uid", text(involved.text("uid"))),
            ("regarding.apiVersion", text(involved.text("apiVersion"))),
            (
                "regarding.resourceVersion",
                text(involved.text("resourceVersion")),
            ),
            ("regarding.fieldPath", text(involved.text("fieldPath"))),
            ("reason", text(object.text("reason"))),
            (
                "reportingController",
                text(object.text("reportingComponent")),
            ),
            ("source", text(source)),
            ("type", text(object.text("type"))),
        ]
    }
    fn selectable_paths(&self) -> Vec<&str> {
        vec![
            "involvedObject",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(
            field,
            "metadata.name"
                | "metadata.namespace"
                | "reason"
                | "reportingController"
                | "source"
                | "type"
                | "regarding.kind"
                | "regarding.namespace"
                | "regarding.name"
                | "regarding.uid"
                | "regarding.apiVersion"
                | "regarding.resourceVersion"
                | "regarding.fieldPath"
        )
    }

    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        event::namespaces(&mut errors, object);
        if object.text("eventTime").is_empty() {
            errors.push(FieldError::required(&Path::new("eventTime"), ""));
        }
        event::reporter(&mut errors, object, "reportingController");
        let kind = object.text("type");
        if !matches!(kind, "Normal" | "Warning") {
            errors.push(FieldError::invalid(
                &Path::new("type"),
                "",
                format!("has invalid value: {kind}"),
            ));
        }
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        for field in [
            "involvedObject",
            "reason",
            "message",
            "type",
            "reportingComponent",
            "reportingInstance",
            "action",
            "related",
            "eventTime",
        ] {
            errors.extend(crate::meta::validate_immutable_field(
                new,
                old,
                field,
                &Path::default(),
            ));
        }
        errors
    }
}

/// What the two groups call the same thing: here, and in the core group.
const NAMES: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

fn to_hub(event: &mut Object) {
    event.set("apiVersion", "v1");
    for (here, core) in NAMES {
        if let Some(value) = event.remove(*here) {
            event.set(core, value);
        }
    }
    event::default(event);
}

fn from_hub(event: &mut Object) {
    event.set("apiVersion", "events.k8s.io/v1");
    for (here, core) in NAMES {
        if let Some(value) = event.remove(*core) {
            event.set(here, value);
        }
    }
    if event.text("reportingController").is_empty() {
        event.remove("reportingController");
    }
    if event.text("reportingInstance").is_empty() {
        event.remove("reportingInstance");
    }
    event.set_default("eventTime", Value::Null);
}
