//! `v1` Namespace: the scope of names. It goes only when its finalizers have gone, which the `finalize` subresource changes.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource},
    lifecycle, names,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "namespaces"),
    gvk: GroupVersionKind::new("", "v1", "Namespace"),
    singular: "namespace",
    scope: Scope::Cluster,
    short_names: &["ns"],
    categories: &[],
    verbs: &[
        "create", "delete", "get", "list", "patch", "update", "watch",
    ],
    subresources: &[
        Subresource {
            name: "finalize",
            gvk: GroupVersionKind::new("", "v1", "Namespace"),
            verbs: &["update"],
        },
        Subresource::status(GroupVersionKind::new("", "v1", "Namespace")),
    ],
    storage: Some(Storage::plain("namespaces")),
    strategy: &NamespaceStrategy,
};

#[derive(Debug)]
struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    fn default(&self, object: &mut Object) {
        name_label(object);
        object.ensure_object("spec");
        object
            .ensure_object("status")
            .set_default_zero("phase", "Active");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        name_label(object);
        object.set("status", json!({"phase": "Active"}));
        let spec = object.ensure_object("spec");
        let mut finalizers = spec.list("finalizers").to_vec();
        if !finalizers.iter().any(|f| f == "kubernetes") {
            finalizers.push("kubernetes".into());
        }
        spec.set("finalizers", finalizers);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        name_label(new);
        lifecycle::keep(new, old, &["spec", "status"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
    }
    fn prepare_for_subresource_update(&self, _name: &str, new: &mut Object, old: &Object) {
        name_label(new);
        lifecycle::keep(new, old, &["status"]);
    }
    fn validate_subresource_update(&self, _name: &str, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_update(new, old);
        let path = Path::new("spec").child("finalizers");
        let finalizers = new
            .object("spec")
            .into_iter()
            .flat_map(|s| s.texts("finalizers"));
        for (index, name) in finalizers.enumerate() {
            errors.extend(crate::meta::finalizer_name(name, &path.index(index)));
        }
        errors
    }
    fn subresource_resets(&self, _name: &str) -> &'static [&'static str] {
        &["status"]
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let phase = object.object("status").map_or("", |s| s.text("phase"));
        vec![("status.phase", phase.to_owned())]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "status.phase")
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        names::dns1123_label(&if prefix {
            names::mask_trailing_dash(name)
        } else {
            name.to_owned()
        })
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        finalizers(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        finalizers(&mut errors, new);
        errors.extend(crate::meta::validate_update(new, old));
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn status_repeats_metadata_rules(&self) -> bool {
        true
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let phase = new.object("status").map_or("", |s| s.text("phase"));
        let path = Path::new("status").child("Phase");
        match (meta::is_deleting(new), phase) {
            (true, "Terminating") | (false, "Active") => {}
            (true, other) => errors.push(FieldError::invalid(
                &path,
                other,
                "may only be 'Terminating' if `deletionTimestamp` is not empty",
            )),
            (false, other) => errors.push(FieldError::invalid(
                &path,
                other,
                "may only be 'Active' if `deletionTimestamp` is empty",
            )),
        }
        errors
    }
}

/// Every namespace carries its name as a label, so that selectors can name it.
fn name_label(object: &mut Object) {
    let name = meta::name(object).to_owned();
    if !name.is_empty() {
        meta::set_label(object, "kubernetes.io/metadata.name", Some(&name));
    }
}

/// The rules of `spec.finalizers` of a new namespace.
fn finalizers(errors: &mut ErrorList, object: &Object) {
    let path = Path::new("spec").child("finalizers");
    for name in object
        .object("spec")
        .into_iter()
        .flat_map(|s| s.texts("finalizers"))
    {
        errors.extend(crate::meta::finalizer_name(name, &path));
    }
}
