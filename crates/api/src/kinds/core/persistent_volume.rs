//! `v1` PersistentVolume: a piece of storage. Its source never changes.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::{Value, json};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::{
        persistent_volume_claim,
        pod_spec::{defaults, resources, volumes},
    },
    lifecycle, names,
    validate::{one_of, selectors, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "persistentvolumes"),
    gvk: GroupVersionKind::new("", "v1", "PersistentVolume"),
    singular: "persistentvolume",
    scope: Scope::Cluster,
    short_names: &["pv"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "",
        "v1",
        "PersistentVolume",
    ))],
    storage: Some(Storage::plain("persistentvolumes")),
    strategy: &PersistentVolumeStrategy,
};

#[derive(Debug)]
struct PersistentVolumeStrategy;

impl Strategy for PersistentVolumeStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default_zero("persistentVolumeReclaimPolicy", "Retain");
        spec.set_default("volumeMode", "Filesystem");
        defaults::volume_source(spec);
        object
            .ensure_object("status")
            .set_default_zero("phase", "Pending");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        let now = meta::creation_timestamp(object).to_owned();
        object.set(
            "status",
            json!({"phase": "Pending", "lastPhaseTransitionTime": now}),
        );
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        let before = old.object("status").cloned().unwrap_or_default();
        let status = new.ensure_object("status");
        // The time of the last change of phase stays while the phase does.
        if status.text("phase") == before.text("phase")
            && let Some(time) = before.value("lastPhaseTransitionTime")
        {
            status.set_default("lastPhaseTransitionTime", time.clone());
        }
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "name")
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![("name", meta::name(object).to_owned())]
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_volume(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        let source = |spec: &Object| -> serde_json::Value {
            let mut spec = spec.clone();
            spec.retain(|field, _| !OTHER_FIELDS.contains(&field.as_str()));
            spec.into()
        };
        let (now, then) = (source(after), source(before));
        if !crate::fields::same(Some(&now), Some(&then)) {
            let difference = crate::internal::difference(
                "io.k8s.api.core.v1.PersistentVolumeSource",
                Some(&then),
                Some(&now),
            );
            errors.push(FieldError::forbidden(
                &Path::new("spec").child("persistentvolumesource"),
                format!("spec.persistentvolumesource is immutable after creation\n{difference}"),
            ));
        }
        errors.extend(crate::meta::validate_immutable_field(
            after,
            before,
            "volumeMode",
            &Path::default(),
        ));
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
}

/// Of a volume's spec, what is not its source.
const OTHER_FIELDS: &[&str] = &[
    "capacity",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
];

fn validate_volume(errors: &mut ErrorList, volume: &Object) {
    let empty = Object::new();
    let spec = volume.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let modes = path.child("accessModes");
    if spec.list("accessModes").is_empty() {
        errors.push(FieldError::required(&modes, ""));
    }
    persistent_volume_claim::access_modes(errors, &modes, spec);
    capacity(
        errors,
        &path.child("capacity"),
        spec.object("capacity").unwrap_or(&empty),
    );
    let policy = spec.text("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        one_of(
            errors,
            &path.child("persistentVolumeReclaimPolicy"),
            policy,
            &["Delete", "Recycle", "Retain"],
        );
    }
    if let Some(affinity) = spec.object("nodeAffinity") {
        let at = path.child("nodeAffinity").child("required");
        match affinity.object("required") {
            Some(required) => selectors::node_selector(errors, &at, required),
            None => errors.push(FieldError::required(
                &at,
                "must specify required node constraints",
            )),
        }
    }
    let source: Object = spec
        .iter()
        .filter(|(k, v)| !OTHER_FIELDS.contains(&k.as_str()) && v.is_object())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    if source.is_empty() {
        errors.push(FieldError::required(&path, "must specify a volume type"));
    } else {
        volumes::source(errors, &path, &source);
    }
    if let Some(local) = spec.object("local") {
        if local.text("path").is_empty() {
            errors.push(FieldError::required(&path.child("local").child("path"), ""));
        }
        if !spec.has("nodeAffinity") {
            errors.push(FieldError::required(
                &path.child("nodeAffinity"),
                "Local volume requires node affinity",
            ));
        }
    }
    if let Some(csi) = spec.object("csi")
        && csi.text("volumeHandle").is_empty()
    {
        errors.push(FieldError::required(
            &path.child("csi").child("volumeHandle"),
            "",
        ));
    }
    let class = spec.text("storageClassName");
    if !class.is_empty() {
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

/// A volume has one capacity, its size.
fn capacity(errors: &mut ErrorList, path: &Path, capacity: &Object) {
    if capacity.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if capacity.len() != 1 || !capacity.has("storage") {
        let shown = if capacity.is_empty() {
            Value::Null
        } else {
            Value::Object(capacity.clone())
        };
        errors.push(FieldError::not_supported(path, shown, &["storage"]));
    }
    for (name, value) in capacity {
        let at = path.key(name);
        let before = errors.len();
        resources::quantity_value(errors, &at, name, value);
        if errors.len() == before && name == "storage" {
            persistent_volume_claim::positive(errors, &at, value);
        }
    }
}
