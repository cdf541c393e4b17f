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
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::{
        persistent_volume_claim,
        pod_spec::{self, defaults},
        volume_source::{self as sources, Owner, Source, source},
    },
    lifecycle, names,
    validate::{invalid_shown, one_of, required_text, selectors, text},
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
    }
    fn stamp_status(&self, new: &mut Object, old: &Object, now: &str) {
        let empty = Object::new();
        let before = old.object("status").unwrap_or(&empty);
        let status = new.ensure_object("status");
        let (time, then) = (status.get(LAST_CHANGE).cloned(), before.get(LAST_CHANGE));
        if status.text("phase") == before.text("phase") {
            // The time of the last change of phase stays while the phase does.
            if let (None, Some(then)) = (time, then) {
                status.set(LAST_CHANGE, then.clone());
            }
        } else if time.is_none() || time.as_ref() == then {
            status.set(LAST_CHANGE, now);
        }
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_spec(&mut errors, object);
        mount_options(&mut errors, object);
        errors
    }

    /// Upstream judges the whole volume twice, and then what changes.
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        validate_spec(&mut errors, new);
        mount_options(&mut errors, new);
        errors.extend(crate::meta::validate_new(new, &RESOURCE));
        validate_spec(&mut errors, new);
        validate_change(&mut errors, new, old);
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn status_repeats_metadata_rules(&self) -> bool {
        true
    }
    fn warnings(&self, new: &Object, _old: Option<&Object>) -> Vec<String> {
        warnings(new)
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

/// All sources, in upstream's order.
static SOURCES: &[Source] = &[
    source("hostPath", sources::host_path),
    Source {
        path: "persistentDisk",
        ..source("gcePersistentDisk", sources::gce_persistent_disk)
    },
    source("awsElasticBlockStore", sources::aws_elastic_block_store),
    source("glusterfs", sources::glusterfs),
    source("flocker", sources::flocker),
    source("nfs", sources::nfs),
    source("rbd", sources::rbd),
    source("quobyte", sources::quobyte),
    Source {
        too_many: "cephFS",
        ..source("cephfs", sources::cephfs)
    },
    source("iscsi", sources::iscsi),
    source("cinder", sources::cinder),
    source("fc", sources::fc),
    Source {
        too_many: "",
        ..source("flexVolume", sources::flex_volume)
    },
    source("azureFile", sources::azure_file),
    source("vsphereVolume", sources::vsphere_volume),
    source("photonPersistentDisk", sources::photon_persistent_disk),
    source("portworxVolume", sources::portworx_volume),
    source("azureDisk", sources::azure_disk),
    source("scaleIO", sources::scale_io),
    source("local", local),
    source("storageos", sources::storage_os),
    source("csi", csi),
];

fn validate_spec(errors: &mut ErrorList, volume: &Object) {
    let empty = Object::new();
    let spec = volume.object("spec").unwrap_or(&empty);
    validate_spec_at(errors, &Path::new("spec"), spec, meta::name(volume), false);
}

/// The spec of a volume that stands in another object: it is of a CSI driver, has no life of its own, and is anybody's.
pub fn validate_inline_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
    validate_spec_at(errors, path, spec, "", true);
}

fn not_inline(errors: &mut ErrorList, path: &Path, spec: &Object, field: &str) {
    let is_set = match spec.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Object(map)) => !map.is_empty() || field != "capacity",
        Some(_) => true,
    };
    if is_set {
        let words = "may not be specified in the context of inline volumes";
        errors.push(FieldError::forbidden(&path.child(field), words));
    }
}

fn validate_spec_at(errors: &mut ErrorList, path: &Path, spec: &Object, name: &str, inline: bool) {
    if inline {
        not_inline(errors, path, spec, "claimRef");
        not_inline(errors, path, spec, "capacity");
        if !spec.has("csi") {
            let words = "has to be specified in the context of inline volumes";
            errors.push(FieldError::required(&path.child("csi"), words));
        }
    }
    let modes = path.child("accessModes");
    if spec.list("accessModes").is_empty() {
        errors.push(FieldError::required(&modes, ""));
    }
    persistent_volume_claim::access_modes(errors, &modes, spec);
    if !inline {
        capacity(errors, &path.child("capacity"), spec.object("capacity"));
    }
    let policy = spec.text("persistentVolumeReclaimPolicy");
    let at = path.child("persistentVolumeReclaimPolicy");
    if inline && !matches!(policy, "" | "Retain") {
        let words = "may only be Retain in the context of inline volumes";
        errors.push(FieldError::forbidden(&at, words));
    } else if !policy.is_empty() {
        one_of(errors, &at, policy, &["Delete", "Recycle", "Retain"]);
    }
    if inline {
        not_inline(errors, path, spec, "nodeAffinity");
    } else if let Some(affinity) = spec.object("nodeAffinity") {
        let at = path.child("nodeAffinity").child("required");
        match affinity.object("required") {
            Some(required) => selectors::node_selector(errors, &at, required),
            None => errors.push(FieldError::required(
                &at,
                "must specify required node constraints",
            )),
        }
    }
    let owner = Owner {
        volume: spec,
        name,
        path,
        persistent: true,
        pod: None,
    };
    sources::exactly_one(errors, &owner, SOURCES);
    let host = spec.object("hostPath").map(|source| source.text("path"));
    if host.is_some_and(is_root) && policy == "Recycle" {
        errors.push(FieldError::forbidden(
            &path.child("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        ));
    }
    classes(errors, path, spec, inline);
}

/// Whether a path is that of the root, once it is cleaned.
fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

fn classes(errors: &mut ErrorList, path: &Path, spec: &Object, inline: bool) {
    let class = spec.text("storageClassName");
    if inline {
        not_inline(errors, path, spec, "storageClassName");
    } else if !class.is_empty() {
        let at = path.child("storageClassName");
        text(errors, &at, class, names::dns1123_subdomain(class));
    }
    if let Some(mode) = spec.text_opt("volumeMode") {
        let at = path.child("volumeMode");
        if !inline {
            one_of(errors, &at, mode, &["Block", "Filesystem"]);
        } else if mode != "Filesystem" {
            let words =
                "may not specify volumeMode other than Filesystem in the context of inline volumes";
            errors.push(FieldError::forbidden(&at, words));
        }
    }
    if let Some(class) = spec.text_opt("volumeAttributesClassName") {
        let at = path.child("volumeAttributesClassName");
        if class.is_empty() {
            errors.push(FieldError::required(&at, "an empty string is disallowed"));
        } else {
            text(errors, &at, class, names::dns1123_subdomain(class));
        }
        if !spec.has("csi") {
            errors.push(FieldError::required(
                &path.child("csi"),
                "has to be specified when using volumeAttributesClassName",
            ));
        }
    }
}

fn local(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    let at = path.child("path");
    match source.text("path") {
        "" => errors.push(FieldError::required(&at, "")),
        local => sources::no_backsteps(errors, &at, local),
    }
    if !owner.volume.has("nodeAffinity") {
        errors.push(FieldError::required(
            &owner.path.child("nodeAffinity"),
            "Local volume requires node affinity",
        ));
    }
}

fn csi(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    sources::csi_driver_name(errors, &path.child("driver"), source.text("driver"));
    sources::required(errors, path, source, &["volumeHandle"]);
    for field in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        if let Some(secret) = source.object(field) {
            let at = path.child(field);
            let (name, namespace) = (secret.text("name"), secret.text("namespace"));
            required_text(errors, &at.child("name"), name, names::dns1123_subdomain);
            let at = at.child("namespace");
            required_text(errors, &at, namespace, names::dns1123_label);
        }
    }
}

/// The annotation with options of mounts, where there are none.
fn mount_options(errors: &mut ErrorList, volume: &Object) {
    const ANNOTATION: &str = "volume.beta.kubernetes.io/mount-options";
    const MOUNTED: &[&str] = &[
        "gcePersistentDisk",
        "awsElasticBlockStore",
        "glusterfs",
        "nfs",
        "rbd",
        "quobyte",
        "iscsi",
        "cinder",
        "cephfs",
        "azureFile",
        "vsphereVolume",
        "azureDisk",
        "photonPersistentDisk",
    ];
    let mounted = volume
        .object("spec")
        .is_some_and(|spec| MOUNTED.iter().any(|field| spec.has(field)));
    if !mounted && meta::annotation(volume, ANNOTATION).is_some() {
        let at = Path::new("metadata").child("annotations");
        errors.push(FieldError::forbidden(
            &at.child(ANNOTATION),
            "may not specify mount options for this volume type",
        ));
    }
}

/// A volume has one capacity, its size.
fn capacity(errors: &mut ErrorList, path: &Path, capacity: Option<&Object>) {
    let empty = Object::new();
    let amounts = capacity.unwrap_or(&empty);
    if amounts.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    if amounts.len() != 1 || !amounts.has("storage") {
        let shown = capacity.map_or(Value::Null, |shown| Value::Object(shown.clone()));
        errors.push(FieldError::not_supported(path, shown, &["storage"]));
    }
    for (name, value) in amounts {
        let at = path.key(name);
        persistent_volume_claim::basic_amount(errors, &at, value);
        persistent_volume_claim::positive(errors, &at, value);
    }
}

fn validate_change(errors: &mut ErrorList, new: &Object, old: &Object) {
    const SOURCE: &str = "io.k8s.api.core.v1.PersistentVolumeSource";
    let empty = Object::new();
    let (after, before) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    let source = |spec: &Object| -> Object {
        let mut spec = spec.clone();
        spec.retain(|field, _| !OTHER_FIELDS.contains(&field.as_str()));
        spec
    };
    let (mut now, then) = (source(after), source(before));
    // Who expands the volume may be said later.
    const EXPANDER: &str = "controllerExpandSecretRef";
    if then.object("csi").is_some_and(|csi| !csi.has(EXPANDER))
        && let Some(csi) = now.object_mut("csi")
    {
        csi.remove(EXPANDER);
    }
    let (now, then) = (now.into(), then.into());
    if !internal::same(SOURCE, Some(&now), Some(&then)) {
        let difference = internal::difference(SOURCE, Some(&then), Some(&now));
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
    if before.has("nodeAffinity") {
        errors.extend(same_nodes(after, before));
    }
    let class = "volumeAttributesClassName";
    if before.has(class) && !after.has(class) {
        errors.push(FieldError::forbidden(
            &Path::new("spec").child(class),
            "update from non-nil value to nil is forbidden",
        ));
    }
}

/// Where a volume is does not change, but for the newer names of labels.
fn same_nodes(after: &Object, before: &Object) -> Option<FieldError> {
    const AFFINITY: &str = "io.k8s.api.core.v1.VolumeNodeAffinity";
    let now = after.get("nodeAffinity");
    let mut then = before.get("nodeAffinity").cloned();
    if let (Some(now), Some(then)) = (now, then.as_mut()) {
        take_newer_names(now, then);
    }
    if now.is_some() && internal::same(AFFINITY, now, then.as_ref()) {
        return None;
    }
    let shown = match now {
        Some(_) => internal::shown(AFFINITY, now),
        None => "null".to_owned(),
    };
    Some(invalid_shown(
        &Path::new("nodeAffinity"),
        &shown,
        "field is immutable, except for updating from beta label to GA",
    ))
}

/// Gives the keys of `then` the newer names that `now` has in their places.
fn take_newer_names(now: &Value, then: &mut Value) {
    const NAMES: &[(&str, &str)] = &[
        (
            "failure-domain.beta.kubernetes.io/zone",
            "topology.kubernetes.io/zone",
        ),
        (
            "failure-domain.beta.kubernetes.io/region",
            "topology.kubernetes.io/region",
        ),
        ("beta.kubernetes.io/os", "kubernetes.io/os"),
        ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
        (
            "beta.kubernetes.io/instance-type",
            "node.kubernetes.io/instance-type",
        ),
    ];
    match (now, then) {
        (Value::Array(now), Value::Array(then)) => {
            for (now, then) in now.iter().zip(then) {
                take_newer_names(now, then);
            }
        }
        (Value::Object(now), Value::Object(then)) => {
            let keys = (then.text("key").to_owned(), now.text("key"));
            // Upstream looks up the newer name of any key; of one that has none that is no text.
            let has_newer = NAMES.iter().any(|(older, _)| *older == keys.0);
            if NAMES.contains(&(&keys.0, keys.1)) || (keys.1.is_empty() && !has_newer) {
                then.set("key", keys.1);
            }
            for (field, value) in now {
                if let Some(then) = then.get_mut(field) {
                    take_newer_names(value, then);
                }
            }
        }
        _ => {}
    }
}

/// What is deprecated about a volume.
fn warnings(volume: &Object) -> Vec<String> {
    const ANNOTATIONS: &[(&str, &str)] = &[
        (
            "volume.beta.kubernetes.io/storage-class",
            "deprecated since v1.8; use \"storageClassName\" attribute instead",
        ),
        (
            "volume.beta.kubernetes.io/mount-options",
            "deprecated since v1.31; use \"mountOptions\" attribute instead",
        ),
    ];
    const GONE: &[(&str, &str, &str)] = &[
        (
            "cephfs",
            "cephfs",
            "deprecated in v1.28, non-functional in v1.31+",
        ),
        (
            "photonPersistentDisk",
            "photonPersistentDisk",
            "deprecated in v1.11, non-functional in v1.16+",
        ),
        (
            "scaleIO",
            "scaleIO",
            "deprecated in v1.16, non-functional in v1.22+",
        ),
        (
            "storageos",
            "storageOS",
            "deprecated in v1.22, non-functional in v1.25+",
        ),
        (
            "glusterfs",
            "glusterfs",
            "deprecated in v1.25, non-functional in v1.26+",
        ),
        (
            "rbd",
            "rbd",
            "deprecated in v1.28, non-functional in v1.31+",
        ),
    ];
    let empty = Object::new();
    let spec = volume.object("spec").unwrap_or(&empty);
    let mut warnings = Vec::new();
    for (key, message) in ANNOTATIONS {
        if meta::annotation(volume, key).is_some() {
            warnings.push(format!("metadata.annotations[{key}]: {message}"));
        }
    }
    if spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
    }
    let required = spec
        .object("nodeAffinity")
        .and_then(|affinity| affinity.object("required"));
    let at = Path::new("spec").child("nodeAffinity").child("required");
    for (index, term) in required
        .into_iter()
        .flat_map(|r| r.objects("nodeSelectorTerms"))
    {
        let at = at.child("nodeSelectorTerms").index(index);
        pod_spec::warnings::of_node_selector_term(&mut warnings, &at, term, false);
    }
    for (field, shown, message) in GONE {
        if spec.has(field) {
            warnings.push(format!("spec.{shown}: {message}"));
        }
    }
    warnings
}

const LAST_CHANGE: &str = "lastPhaseTransitionTime";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_phase_is_dated() {
        let volume = |status| json!({ "status": status }).as_object().unwrap().clone();
        let old = volume(json!({"phase": "Pending", "lastPhaseTransitionTime": "1"}));
        for (sent, expected) in [
            (json!({"phase": "Pending"}), "1"),
            (
                json!({"phase": "Pending", "lastPhaseTransitionTime": "2"}),
                "2",
            ),
            (json!({"phase": "Bound"}), "now"),
            (
                json!({"phase": "Bound", "lastPhaseTransitionTime": "1"}),
                "now",
            ),
            (
                json!({"phase": "Bound", "lastPhaseTransitionTime": "3"}),
                "3",
            ),
        ] {
            let mut new = volume(sent);
            PersistentVolumeStrategy.stamp_status(&mut new, &old, "now");
            assert_eq!(new["status"]["lastPhaseTransitionTime"], expected);
        }
    }
}
