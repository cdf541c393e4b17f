//! `v1` PersistentVolumeClaim.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "persistentvolumeclaims"),
    gvk: GroupVersionKind::new("", "v1", "PersistentVolumeClaim"),
    singular: "persistentvolumeclaim",
    scope: Scope::Namespaced,
    short_names: &["pvc"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "",
        "v1",
        "PersistentVolumeClaim",
    ))],
    storage: Some(Storage::plain("persistentvolumeclaims")),
    strategy: &PersistentVolumeClaimStrategy,
};

#[derive(Debug)]
struct PersistentVolumeClaimStrategy;

impl Strategy for PersistentVolumeClaimStrategy {
    fn default(&self, object: &mut Object) {
        default(object);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.set("status", json!({"phase": "Pending"}));
        data_source(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        data_source(new);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "metadata.namespace" | "name")
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("name", meta::name(object).to_owned())]
    }
}

/// Also for the claims that a StatefulSet makes.
pub fn default(claim: &mut Object) {
    claim.ensure_object("metadata");
    claim
        .ensure_object("status")
        .set_default_zero("phase", "Pending");
    let spec = claim.ensure_object("spec");
    spec.set_default("volumeMode", "Filesystem");
    spec.ensure_object("resources");
}

/// `dataSource` and `dataSourceRef` say the same; whichever is there fills the other, unless the reference leads to another namespace.
fn data_source(claim: &mut Object) {
    let spec = claim.ensure_object("spec");
    match (
        spec.object("dataSource").cloned(),
        spec.object("dataSourceRef").cloned(),
    ) {
        (Some(source), None) => spec.set("dataSourceRef", source),
        (None, Some(reference)) if reference.text("namespace").is_empty() => {
            spec.set("dataSource", reference);
        }
        _ => {}
    }
}
