//! `v1` Event: what happened to an object. Also the version in which `events.k8s.io` events are kept.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
    validate::text,
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
    fn has_dependents(&self) -> bool {
        false
    }
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
    fn judges_new_metadata(&self) -> bool {
        false
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        legacy_rules(&mut errors, object, "reportingComponent");
        errors
    }
    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
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

/// The rules of both groups: of an event in the old form, where it stands; of one in the new form, which has a time, also who reports,
/// what was done, and why. An event stands in the namespace of what it is about.
pub fn legacy_rules(errors: &mut ErrorList, event: &Object, controller_field: &str) {
    let namespace = event.object("metadata").map_or("", |m| m.text("namespace"));
    let involved = event
        .object("involvedObject")
        .map_or("", |i| i.text("namespace"));
    let is_new = !event.text("eventTime").is_empty();
    let good = match (is_new, involved) {
        (true, "") => matches!(namespace, "default" | "kube-system"),
        (true, _) => true,
        (false, "") => matches!(namespace, "" | "default"),
        (false, _) => namespace == involved,
    };
    if !good {
        errors.push(FieldError::invalid(
            &Path::new("involvedObject").child("namespace"),
            involved,
            "does not match event.namespace",
        ));
    }
    if is_new {
        reporter(errors, event, controller_field);
    }
}

fn reporter(errors: &mut ErrorList, event: &Object, controller_field: &str) {
    let controller = event.text("reportingComponent");
    let path = Path::new(controller_field);
    if controller.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    text(errors, &path, controller, names::qualified_name(controller));
    for (field, max) in [
        ("reportingInstance", 128),
        ("action", 128),
        ("reason", 128),
        ("message", 1024),
    ] {
        let (at, length) = (Path::new(field), event.text(field).len());
        if length == 0 && field != "message" {
            errors.push(FieldError::required(&at, ""));
        }
        if length > max {
            let detail = format!("can have at most {max} characters");
            errors.push(FieldError::invalid(&at, "", detail));
        }
    }
}
