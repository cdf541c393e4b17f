//! `apps/v1` ReplicaSet: so many equal pods.

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::{self, defaults, template},
    lifecycle,
    validate::{non_negatives, selectors},
};
use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "replicasets"),
    gvk: GroupVersionKind::new("apps", "v1", "ReplicaSet"),
    singular: "replicaset",
    scope: Scope::Namespaced,
    short_names: &["rs"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "ReplicaSet")),
    ],
    storage: Some(Storage::plain("replicasets")),
    strategy: &ReplicaSetStrategy,
};

#[derive(Debug)]
struct ReplicaSetStrategy;

impl Strategy for ReplicaSetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        spec.set_default("replicas", 1);
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        errors.extend(selectors::immutable(new, old));
        errors
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        validate_replica_status(new)
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        pod_spec::warnings::of_workload(new, old)
    }
}

/// The rules of `spec`.
fn validate_spec(errors: &mut ErrorList, object: &Object) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    non_negatives(errors, &path, spec, &["replicas", "minReadySeconds"]);
    template::validate_replicated(errors, &path, spec);
}

/// The counts of a ReplicaSet or ReplicationController.
pub fn validate_replica_status(new: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let path = Path::new("status");
    let status = new.object("status").unwrap_or(&empty);
    non_negatives(
        &mut errors,
        &path,
        status,
        &[
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "observedGeneration",
            "terminatingReplicas",
        ],
    );
    let count = |field| status.int(field).unwrap_or(0);
    for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if count(field) > count("replicas") {
            errors.push(FieldError::invalid(
                &path.child(field),
                count(field),
                "cannot be greater than status.replicas",
            ));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        errors.push(FieldError::invalid(
            &path.child("availableReplicas"),
            count("availableReplicas"),
            "cannot be greater than readyReplicas",
        ));
    }
    errors
}
