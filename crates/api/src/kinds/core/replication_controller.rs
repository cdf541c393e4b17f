//! `v1` ReplicationController.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::defaults,
    lifecycle,
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
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
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
        object.remove("status");
        lifecycle::zeroes(object.ensure_object("status"), &["replicas"]);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
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
}
