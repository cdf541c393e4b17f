//! `events.k8s.io/v1` Event: the same objects as the core group's, under other names.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
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
    fn has_dependents(&self) -> bool {
        false
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

    fn validate_before_metadata(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        event::legacy_rules(&mut errors, object, "reportingController");
        errors
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        series(&mut errors, object);
        if object.text("eventTime").is_empty() {
            errors.push(FieldError::required(&Path::new("eventTime"), ""));
        }
        let kind = object.text("type");
        if !matches!(kind, "Normal" | "Warning") {
            errors.push(FieldError::invalid(
                &Path::new("type"),
                "",
                format!("has invalid value: {kind}"),
            ));
        }
        let source = object.object("source");
        let source =
            source.is_some_and(|s| !s.text("component").is_empty() || !s.text("host").is_empty());
        for (field, is_set) in [
            ("firstTimestamp", !object.text("firstTimestamp").is_empty()),
            ("lastTimestamp", !object.text("lastTimestamp").is_empty()),
            ("count", object.int("count").unwrap_or(0) != 0),
            ("source", source),
        ] {
            if is_set {
                let at = Path::new(field);
                errors.push(FieldError::invalid(&at, "", "needs to be unset"));
            }
        }
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        if !internal::same_field(EVENT, new, old, "series") {
            series(&mut errors, new);
        }
        // Upstream asks after the reason twice.
        for (field, shown) in [
            ("involvedObject", "involvedObject"),
            ("reason", "reason"),
            ("message", "message"),
            ("source", "source"),
            ("firstTimestamp", "firstTimestamp"),
            ("lastTimestamp", "lastTimestamp"),
            ("count", "count"),
            ("reason", "reason"),
            ("type", "type"),
            ("eventTime", "eventTime"),
            ("action", "action"),
            ("related", "related"),
            ("reportingComponent", "reportingController"),
            ("reportingInstance", "reportingInstance"),
        ] {
            if !internal::same_field(EVENT, new, old, field) {
                errors.push(crate::validate::invalid_shown(
                    &Path::new(shown),
                    &internal::shown_field(EVENT, new, field),
                    crate::meta::IMMUTABLE,
                ));
            }
        }
        errors
    }
}

const EVENT: &str = "io.k8s.api.core.v1.Event";

/// A series is more than one event.
fn series(errors: &mut ErrorList, event: &Object) {
    let Some(series) = event.object("series") else {
        return;
    };
    if series.int("count").unwrap_or(0) < 2 {
        errors.push(FieldError::invalid(
            &Path::new("series.count"),
            "",
            "should be at least 2",
        ));
    }
    if series.text("lastObservedTime").is_empty() {
        errors.push(FieldError::required(
            &Path::new("series.lastObservedTime"),
            "",
        ));
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
