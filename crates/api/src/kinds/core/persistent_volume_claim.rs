//! `v1` PersistentVolumeClaim: a request for storage. Once bound, only its size may grow.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::{Fields, quantity, same},
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::resources,
    lifecycle, names,
    validate::{one_of, selectors, text},
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
        matches!(field, "metadata.name" | "metadata.namespace")
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        validate_spec(
            &mut errors,
            &Path::new("spec"),
            object.object("spec").unwrap_or(&empty),
        );
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        validate_change(&mut errors, new, old);
        errors
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

/// The rules of a claim's spec, also of those in templates.
pub fn validate_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let modes = path.child("accessModes");
    if spec.list("accessModes").is_empty() {
        errors.push(FieldError::required(
            &modes,
            "at least 1 access mode is required",
        ));
    }
    if let Some(selector) = spec.object("selector") {
        selectors::label_selector(errors, &path.child("selector"), selector);
    }
    access_modes(errors, &modes, spec);
    let storage = spec
        .object("resources")
        .and_then(|r| r.object("requests"))
        .and_then(|r| r.value("storage"));
    let at = path.child("resources").key("storage");
    match storage {
        None => errors.push(FieldError::required(&at, "")),
        Some(value) => positive(errors, &at, value),
    }
    if let Some(class) = spec.text_opt("storageClassName").filter(|c| !c.is_empty()) {
        text(
            errors,
            &path.child("storageClassName"),
            class,
            names::dns1123_subdomain(class),
        );
    }
    if spec.has("volumeMode") {
        one_of(
            errors,
            &path.child("volumeMode"),
            spec.text("volumeMode"),
            &["Block", "Filesystem"],
        );
    }
}

/// The modes of a claim or a volume.
pub fn access_modes(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let modes: Vec<&str> = spec.texts("accessModes").collect();
    for mode in &modes {
        one_of(
            errors,
            path,
            mode,
            &[
                "ReadOnlyMany",
                "ReadWriteMany",
                "ReadWriteOnce",
                "ReadWriteOncePod",
            ],
        );
    }
    if modes.contains(&"ReadWriteOncePod") && modes.len() > 1 {
        errors.push(FieldError::forbidden(
            path,
            "may not use ReadWriteOncePod with other access modes",
        ));
    }
}

/// A size that is more than nothing.
pub fn positive(errors: &mut ErrorList, path: &Path, value: &serde_json::Value) {
    if quantity(value).is_some_and(|q| q.sign() <= 0) {
        errors.push(FieldError::invalid(
            path,
            resources::shown(value),
            "must be greater than zero",
        ));
    }
}

fn validate_change(errors: &mut ErrorList, new: &Object, old: &Object) {
    let empty = Object::new();
    let (asked, stood) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    let path = Path::new("spec");
    immutable_spec(errors, &path, new, asked, stood);
    let size = |spec: &Object| {
        spec.object("resources")
            .and_then(|r| r.object("requests"))
            .and_then(|r| r.get("storage"))
            .and_then(quantity)
    };
    let capacity = old
        .object("status")
        .and_then(|s| s.object("capacity"))
        .and_then(|c| c.get("storage"))
        .and_then(quantity);
    if let (Some(now), Some(then)) = (size(asked), size(stood))
        && now < then
        && capacity.map_or(now.sign() <= 0, |capacity| now <= capacity)
    {
        let at = path.child("resources").child("requests").child("storage");
        errors.push(FieldError::forbidden(
            &at,
            "field can not be less than status.capacity",
        ));
    }
    errors.extend(crate::meta::validate_immutable_field(
        asked,
        stood,
        "volumeMode",
        &Path::default(),
    ));
    let class = "volumeAttributesClassName";
    if stood.has(class) && asked.text_opt(class) != stood.text_opt(class) {
        match asked.text_opt(class) {
            None => errors.push(FieldError::forbidden(
                &path.child(class),
                "update from non-nil value to nil is forbidden",
            )),
            Some("") => errors.push(FieldError::forbidden(
                &path.child(class),
                "update from non-nil value to an empty string is forbidden",
            )),
            Some(_) => {}
        }
    }
}

/// A claim stays what it is, so that quotas and limits cannot be gone around; a bound one may grow, and change its attributes.
fn immutable_spec(
    errors: &mut ErrorList,
    path: &Path,
    new: &Object,
    asked: &Object,
    stood: &Object,
) {
    let (mut before, mut after) = (stood.clone(), asked.clone());
    // The binder may put a volume's name where there was none.
    if before.text("volumeName").is_empty() {
        before.set_or_remove("volumeName", after.get("volumeName").cloned());
    }
    // A class may be filled in later, when the claim was made before there was a default one.
    if !before.has("storageClassName") && after.has("storageClassName") {
        after.remove("storageClassName");
    }
    let bound = new
        .object("status")
        .is_some_and(|s| s.text("phase") == "Bound");
    if bound {
        let storage = stood
            .object("resources")
            .and_then(|r| r.object("requests"))
            .and_then(|r| r.get("storage"))
            .cloned();
        if let Some(requests) = after
            .object_mut("resources")
            .and_then(|r| r.object_mut("requests"))
        {
            requests.set_or_remove("storage", storage);
        }
        let class = "volumeAttributesClassName";
        if after.has(class) {
            after.set_or_remove(class, before.get(class).cloned());
        }
    }
    let (before, after) = (before.into(), after.into());
    if !same(Some(&after), Some(&before)) {
        let difference = internal::difference(
            "io.k8s.api.core.v1.PersistentVolumeClaimSpec",
            Some(&before),
            Some(&after),
        );
        errors.push(FieldError::forbidden(
            path,
            format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{difference}"
            ),
        ));
    }
}
