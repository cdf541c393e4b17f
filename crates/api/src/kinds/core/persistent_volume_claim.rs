//! `v1` PersistentVolumeClaim: a request for storage. Once bound, only its size may grow.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::json;

use crate::{
    fields::{Fields, quantity},
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::resources,
    lifecycle, names,
    validate::{invalid_shown, one_of, selectors, text},
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
        data_source(object, None);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        data_source(new, Some(old));
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
        let spec = object.object("spec").unwrap_or(&empty);
        validate_spec(&mut errors, &Path::new("spec"), spec, false);
        errors
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        let empty = Object::new();
        let spec = new.object("spec").unwrap_or(&empty);
        // A group that was taken once is taken again.
        let grouped = ["dataSource", "dataSourceRef"].into_iter().any(|field| {
            let before = old.object("spec").and_then(|spec| spec.object(field));
            before.is_some_and(|source| source.has("apiGroup"))
        });
        validate_spec(&mut errors, &Path::new("spec"), spec, grouped);
        validate_change(&mut errors, new, old);
        errors
    }
    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_status(&mut errors, new);
        errors
    }
    fn warnings(&self, new: &Object, _old: Option<&Object>) -> Vec<String> {
        let mut warnings = Vec::new();
        if meta::annotation(new, BETA_CLASS).is_some() {
            warnings.push(format!(
                "metadata.annotations[{BETA_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
            ));
        }
        if let Some(spec) = new.object("spec") {
            warnings.extend(warnings_of_spec(&Path::new("spec"), spec));
        }
        warnings
    }
}

/// Where a claim's class stood before it had a field.
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// Sizes that are no whole number of bytes.
pub fn warnings_of_spec(path: &Path, spec: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    for part in ["requests", "limits"] {
        let size = spec
            .object("resources")
            .and_then(|resources| resources.object(part))
            .and_then(|amounts| amounts.get("storage"));
        if let Some(size) = size
            && quantity(size).is_some_and(|q| q.milli_value() % 1000 != 0)
        {
            warnings.push(format!(
                "{}: fractional byte value {} is invalid, must be an integer",
                path.child("resources").child(part).key("storage"),
                apimachinery::quote(&resources::shown(size)),
            ));
        }
    }
    warnings
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
///
/// What upstream dropped before there was the reference is dropped still: sources of other kinds, and references to other namespaces,
/// whose gate is closed (`CrossNamespaceVolumeDataSource`).
fn data_source(claim: &mut Object, old: Option<&Object>) {
    let before = old.and_then(|old| old.object("spec"));
    let had = |field: &str| before.is_some_and(|spec| spec.has(field));
    let spec = claim.ensure_object("spec");
    let elsewhere = |reference: &Object| !reference.text("namespace").is_empty();
    if !had("dataSourceRef") && spec.object("dataSourceRef").is_some_and(elsewhere) {
        spec.remove("dataSourceRef");
    }
    let known = spec.object("dataSource").is_some_and(|source| {
        matches!(
            (source.text("kind"), source.text("apiGroup")),
            ("PersistentVolumeClaim", "") | ("VolumeSnapshot", "snapshot.storage.k8s.io")
        )
    });
    if !known && !had("dataSource") && !had("dataSourceRef") && !spec.has("dataSourceRef") {
        spec.remove("dataSource");
    }
    match (
        spec.object("dataSource").cloned(),
        spec.object("dataSourceRef").cloned(),
    ) {
        (Some(source), None) => spec.set("dataSourceRef", source),
        (None, Some(mut reference)) if !elsewhere(&reference) => {
            reference.remove("namespace");
            spec.set("dataSource", reference);
        }
        _ => {}
    }
}

/// The rules of a claim's spec, also of those in templates. `any_group`: groups of data sources are not judged.
pub fn validate_spec(errors: &mut ErrorList, path: &Path, spec: &Object, any_group: bool) {
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
    for field in ["dataSource", "dataSourceRef"] {
        if let Some(source) = spec.object(field) {
            source_of_data(errors, &path.child(field), source, any_group);
        }
    }
    same_source(errors, path, spec);
    if let Some(class) = spec
        .text_opt("volumeAttributesClassName")
        .filter(|class| !class.is_empty())
    {
        let at = path.child("volumeAttributesClassName");
        text(errors, &at, class, names::dns1123_subdomain(class));
    }
}

/// What fills a new volume.
fn source_of_data(errors: &mut ErrorList, path: &Path, source: &Object, any_group: bool) {
    for field in ["name", "kind"] {
        if source.text(field).is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    }
    let (group, kind) = (source.text("apiGroup"), source.text("kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.push(FieldError::invalid(path, kind, detail));
    }
    if !group.is_empty() && !any_group {
        let complaints = names::dns1123_subdomain(group);
        text(errors, &path.child("apiGroup"), group, complaints);
    }
    let namespace = source.text("namespace");
    if !namespace.is_empty() {
        let complaints = names::dns1123_label(namespace);
        text(errors, &path.child("namespace"), namespace, complaints);
    }
}

/// Of `dataSource` and `dataSourceRef` both, one says what the other says. (Upstream shows the path as the value: a struct without
/// exported fields.)
fn same_source(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let (Some(source), Some(reference)) = (spec.object("dataSource"), spec.object("dataSourceRef"))
    else {
        return;
    };
    let complaint = if !reference.text("namespace").is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if ["apiGroup", "kind", "name"]
        .iter()
        .any(|field| source.get(*field) != reference.get(*field))
    {
        "must match dataSourceRef"
    } else {
        return;
    };
    errors.push(invalid_shown(path, "{}", complaint));
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
    let others = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce"];
    if modes.contains(&"ReadWriteOncePod") && modes.iter().any(|mode| others.contains(mode)) {
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

/// An amount that is not negative, shown as the whole number it is.
pub fn basic_amount(errors: &mut ErrorList, path: &Path, value: &serde_json::Value) {
    if let Some(amount) = quantity(value).map(|q| q.value()).filter(|v| *v < 0) {
        let detail = "must be a valid resource quantity";
        errors.push(FieldError::invalid(path, amount, detail));
    }
}

fn validate_status(errors: &mut ErrorList, claim: &Object) {
    const STEPS: &[&str] = &[
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let empty = Object::new();
    let spec = claim.object("spec").unwrap_or(&empty);
    if spec.list("accessModes").is_empty() {
        let at = Path::new("Spec").child("accessModes");
        errors.push(FieldError::required(&at, ""));
    }
    let status = claim.object("status").unwrap_or(&empty);
    let path = Path::new("status");
    for (name, value) in status.object("capacity").into_iter().flatten() {
        basic_amount(errors, &path.child("capacity").key(name), value);
    }
    let at = path.child("allocatedResourceStatuses");
    for (name, step) in status
        .object("allocatedResourceStatuses")
        .into_iter()
        .flatten()
    {
        resource_key(errors, &at, name);
        if !STEPS.contains(&step.as_str().unwrap_or_default()) {
            // Upstream shows the key.
            errors.push(FieldError::not_supported(&at, name.as_str(), STEPS));
        }
    }
    let at = path.child("allocatedResources");
    for (name, value) in status.object("allocatedResources").into_iter().flatten() {
        let before = errors.len();
        resource_key(errors, &at, name);
        if errors.len() > before {
            continue;
        }
        let at = at.key(name);
        basic_amount(errors, &at, value);
        if errors.len() == before {
            resources::quantity_value(errors, &at, "storage", value);
        }
    }
}

/// Of the cluster's own resources, a claim has storage.
fn resource_key(errors: &mut ErrorList, path: &Path, name: &str) {
    let complaints = names::qualified_name(name);
    if !complaints.is_empty() {
        text(errors, path, name, complaints);
    } else if resources::is_native(name) {
        one_of(errors, path, name, &["storage"]);
    }
}

fn validate_change(errors: &mut ErrorList, new: &Object, old: &Object) {
    let empty = Object::new();
    let (asked, stood) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    let path = Path::new("spec");
    immutable_spec(errors, &path, new, old);
    let size = |spec: &Object| {
        spec.object("resources")
            .and_then(|r| r.object("requests"))
            .and_then(|r| r.get("storage"))
            .and_then(quantity)
            .unwrap_or_default()
    };
    let capacity = old
        .object("status")
        .and_then(|s| s.object("capacity"))
        .and_then(|c| c.get("storage"))
        .and_then(quantity)
        .unwrap_or_default();
    let (now, then) = (size(asked), size(stood));
    if now < then && now <= capacity {
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
    let current = old
        .object("status")
        .is_some_and(|status| status.has("currentVolumeAttributesClassName"));
    if current && asked.text_opt(class) != stood.text_opt(class) {
        let to = match asked.text_opt(class) {
            None => "nil",
            Some("") => "empty string",
            Some(_) => return,
        };
        errors.push(FieldError::forbidden(
            &path.child(class),
            format!(
                "update to {to} is forbidden when status.currentVolumeAttributesClassName is not nil"
            ),
        ));
    }
}

/// A claim stays what it is, so that quotas and limits cannot be gone around; a bound one may grow, and change its attributes.
fn immutable_spec(errors: &mut ErrorList, path: &Path, new: &Object, old: &Object) {
    const SPEC: &str = "io.k8s.api.core.v1.PersistentVolumeClaimSpec";
    const CLASS: &str = "storageClassName";
    let stood = old.object("spec").cloned().unwrap_or_default();
    let mut before = stood.clone();
    let mut after = new.object("spec").cloned().unwrap_or_default();
    // The binder may put a volume's name where there was none.
    if before.text("volumeName").is_empty() {
        before.set_or_remove("volumeName", after.get("volumeName").cloned());
    }
    let annotation = |claim| meta::annotation(claim, BETA_CLASS);
    let (was, is) = (annotation(old), annotation(new));
    let filled = !stood.has(CLASS) && after.has(CLASS);
    if filled && was == after.text_opt(CLASS) && is.is_none_or(|is| Some(is) == was) {
        // The class moves from the annotation to its field.
        after.remove(CLASS);
    } else {
        if was.unwrap_or_default() != is.unwrap_or_default() {
            errors.push(FieldError::invalid(
                &Path::new("metadata").child("annotations").child(BETA_CLASS),
                is.unwrap_or_default(),
                "field is immutable",
            ));
        }
        // A class may be filled in later, when the claim was made before there was a default one.
        if filled && was.is_none_or(|was| Some(was) == after.text_opt(CLASS)) {
            after.remove(CLASS);
        }
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
        after.set_or_remove(class, before.get(class).cloned());
    }
    let (before, after) = (before.into(), after.into());
    if !internal::same(SPEC, Some(&after), Some(&before)) {
        let difference = internal::difference(SPEC, Some(&before), Some(&after));
        errors.push(FieldError::forbidden(
            path,
            format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{difference}"
            ),
        ));
    }
}
