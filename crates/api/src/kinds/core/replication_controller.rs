//! `v1` ReplicationController: the older ReplicaSet, whose selector is a plain map.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::{
        apps::replica_set::validate_replica_status,
        core::pod_spec::{self, defaults, template},
    },
    lifecycle, names,
    validate::{non_negative, selectors},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "replicationcontrollers"),
    gvk: GroupVersionKind::new("", "v1", "ReplicationController"),
    singular: "replicationcontroller",
    scope: Scope::Namespaced,
    short_names: &["rc"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("", "v1", "ReplicationController")),
    ],
    storage: Some(Storage::plain("controllers")),
    strategy: &ReplicationControllerStrategy,
};

#[derive(Debug)]
struct ReplicationControllerStrategy;

impl Strategy for ReplicationControllerStrategy {
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        // What a name is generated from is not judged, but what comes of it.
        if prefix {
            Vec::new()
        } else {
            names::long_name(name)
        }
    }
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        if spec.has("template") {
            defaults::template(spec, "template");
        }
        spec.set_default("replicas", 1);
        let labels = spec
            .object("template")
            .and_then(|t| t.object("metadata"))
            .and_then(|m| m.object("labels"))
            .filter(|l| !l.is_empty())
            .cloned();
        if let Some(labels) = labels {
            if spec.object("selector").is_none_or(Object::is_empty) {
                spec.set("selector", labels.clone());
            }
            let metadata = object.ensure_object("metadata");
            if metadata.object("labels").is_none_or(Object::is_empty) {
                metadata.set("labels", labels);
            }
        }
        lifecycle::zeroes(object.ensure_object("status"), &["replicas"]);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        pod_spec::disabled::drop_from_template(object);
        object.remove("status");
        lifecycle::zeroes(object.ensure_object("status"), &["replicas"]);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        pod_spec::disabled::drop_from_template(new);
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn orphan_dependents_by_default(&self) -> bool {
        true
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let replicas = object
            .object("status")
            .and_then(|s| s.int("replicas"))
            .unwrap_or(0);
        vec![("status.replicas", replicas.to_string())]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(
            field,
            "metadata.name" | "metadata.namespace" | "status.replicas"
        )
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        validate_replica_status(new)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        match old {
            None => pod_spec::warnings::of_workload(new, None),
            // Of an update upstream warns of what was there, in the light of what is to be.
            Some(old) => pod_spec::warnings::of_workload(old, Some(new)),
        }
    }
}

/// The rules of `spec`.
fn validate_spec(errors: &mut ErrorList, object: &Object) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    non_negative(
        errors,
        &path.child("minReadySeconds"),
        spec.int("minReadySeconds"),
    );
    let selector = spec.object("selector").filter(|s| !s.is_empty());
    if selector.is_none() {
        errors.push(FieldError::required(&path.child("selector"), ""));
    }
    if spec.has("replicas") {
        non_negative(errors, &path.child("replicas"), spec.int("replicas"));
    } else {
        errors.push(FieldError::required(&path.child("replicas"), ""));
    }
    let at = path.child("template");
    let Some(pods) = spec.object("template") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    let labels = pods.object("metadata").and_then(|m| m.object("labels"));
    let met = selector.is_none_or(|s| {
        s.iter()
            .all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
    });
    if !met {
        errors.push(selectors::mismatch(&path, labels));
    }
    template::validate_template(errors, &at, Some(pods));
    template::runs_forever(errors, &at, Some(pods), "ReplicationController");
}
