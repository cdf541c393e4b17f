//! Volumes of a pod: their names, and the sources that pods alone have.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use super::{environment, projected};
use crate::{
    fields::{Fields, quantity},
    kinds::core::{
        persistent_volume_claim,
        volume_source::{self as sources, Owner, Source, descending_path, required, source},
    },
    meta, names,
    validate::text,
};

pub(crate) use sources::csi_driver_name;

/// All sources, in upstream's order.
static SOURCES: &[Source] = &[
    source("emptyDir", empty_dir),
    source("hostPath", sources::host_path),
    source("gitRepo", git_repo),
    Source {
        path: "persistentDisk",
        ..source("gcePersistentDisk", sources::gce_persistent_disk)
    },
    source("awsElasticBlockStore", sources::aws_elastic_block_store),
    source("secret", secret),
    source("nfs", sources::nfs),
    source("iscsi", sources::iscsi),
    source("glusterfs", sources::glusterfs),
    source("flocker", sources::flocker),
    source("persistentVolumeClaim", claim),
    source("rbd", sources::rbd),
    source("cinder", sources::cinder),
    Source {
        too_many: "cephFS",
        ..source("cephfs", sources::cephfs)
    },
    source("quobyte", sources::quobyte),
    Source {
        too_many: "downwarAPI",
        ..source("downwardAPI", downward_api)
    },
    source("fc", sources::fc),
    source("flexVolume", sources::flex_volume),
    source("configMap", config_map),
    source("azureFile", sources::azure_file),
    source("vsphereVolume", sources::vsphere_volume),
    source("photonPersistentDisk", sources::photon_persistent_disk),
    source("portworxVolume", sources::portworx_volume),
    source("azureDisk", sources::azure_disk),
    source("storageos", sources::storage_os),
    source("projected", projected_volume),
    source("scaleIO", sources::scale_io),
    source("csi", csi),
    source("ephemeral", ephemeral),
    source("image", image),
];

/// Checks all volumes, and gives the names of those that are good: a mount of another is a mount of nothing.
pub(super) fn validate<'a>(
    errors: &mut ErrorList,
    path: &Path,
    spec: &'a Object,
    pod: Option<&Object>,
) -> BTreeSet<&'a str> {
    let pod_name = pod.map_or("", |metadata| metadata.text("name"));
    let made: BTreeSet<String> = spec
        .objects("volumes")
        .filter(|(_, volume)| volume.has("ephemeral") && !pod_name.is_empty())
        .map(|(_, volume)| format!("{pod_name}-{}", volume.text("name")))
        .collect();
    let mut good: BTreeSet<&str> = BTreeSet::new();
    for (index, volume) in spec.objects("volumes") {
        let at = path.index(index);
        let name = volume.text("name");
        let owner = Owner {
            volume,
            name,
            path: &at,
            persistent: false,
            pod,
        };
        let mut found = Vec::new();
        sources::exactly_one(&mut found, &owner, SOURCES);
        let named = at.child("name");
        if name.is_empty() {
            found.push(FieldError::required(&named, ""));
        } else {
            text(&mut found, &named, name, names::dns1123_label(name));
        }
        if good.contains(&name) {
            found.push(FieldError::duplicate(&named, name));
        }
        if found.is_empty() {
            good.insert(name);
        }
        errors.extend(found);
        let claim = volume
            .object("persistentVolumeClaim")
            .map(|claim| claim.text("claimName"));
        if let Some(claim) = claim.filter(|claim| made.contains(*claim)) {
            errors.push(FieldError::invalid(
                &at.child("persistentVolumeClaim").child("claimName"),
                claim,
                "must not reference a PVC that gets created for an ephemeral volume",
            ));
        }
    }
    good
}

/// A pod without a service account has no token to project.
pub(super) fn no_service_account_tokens(errors: &mut ErrorList, path: &Path, spec: &Object) {
    for (vi, volume) in spec.objects("volumes") {
        let sources = volume.object("projected").into_iter();
        for (si, source) in sources.flat_map(|projected| projected.objects("sources")) {
            if source.has("serviceAccountToken") {
                let at = path.index(vi).child("projected").child("sources");
                errors.push(FieldError::forbidden(
                    &at.index(si).child("serviceAccountToken"),
                    "must not be specified when serviceAccountName is not set",
                ));
            }
        }
    }
}

fn empty_dir(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    let limit = source.get("sizeLimit").and_then(quantity);
    if limit.is_some_and(|limit| limit.sign() < 0) {
        errors.push(FieldError::forbidden(
            &path.child("sizeLimit"),
            "SizeLimit field must be a valid resource quantity",
        ));
    }
}

fn git_repo(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["repository"]);
    let at = path.child("directory");
    descending_path(errors, &at, source.text("directory"));
}

fn claim(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["claimName"]);
}

fn secret(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["secretName"]);
    default_mode(errors, path, source);
    items(errors, path, source);
}

fn config_map(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["name"]);
    default_mode(errors, path, source);
    items(errors, path, source);
}

fn downward_api(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    default_mode(errors, path, source);
    for (_, file) in source.objects("items") {
        downward_file(errors, path, file);
    }
}

fn projected_volume(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    default_mode(errors, path, source);
    projected::validate(errors, path, source);
}

fn csi(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    csi_driver_name(errors, &path.child("driver"), source.text("driver"));
    let Some(secret) = source.object("nodePublishSecretRef") else {
        return;
    };
    let name = secret.text("name");
    if name.is_empty() {
        let at = path.child("nodePublishSecretRef").child("name");
        errors.push(FieldError::required(&at, ""));
    } else {
        // Upstream misses a part of the path here.
        let complaints = names::dns1123_subdomain(name);
        text(errors, &path.child("name"), name, complaints);
    }
}

fn ephemeral(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    let at = path.child("volumeClaimTemplate");
    match source.object("volumeClaimTemplate") {
        None => errors.push(FieldError::required(&at, "")),
        Some(template) => {
            claim_metadata(errors, &at.child("metadata"), template);
            let empty = Object::new();
            let spec = template.object("spec").unwrap_or(&empty);
            persistent_volume_claim::validate_spec(errors, &at.child("spec"), spec, false);
        }
    }
    let pod = owner.pod.map_or("", |metadata| metadata.text("name"));
    if !pod.is_empty() && !owner.name.is_empty() {
        let claim = format!("{pod}-{}", owner.name);
        let at = owner.path.child("name");
        for complaint in names::dns1123_subdomain(&claim) {
            let detail = format!("PVC name {}: {complaint}", apimachinery::quote(&claim));
            errors.push(FieldError::invalid(&at, owner.name, detail));
        }
    }
}

/// Of the metadata of a claim to be made, only labels and annotations are the author's to give.
fn claim_metadata(errors: &mut ErrorList, path: &Path, template: &Object) {
    const OTHERS: &[&str] = &[
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ];
    let empty = Object::new();
    let metadata = template.object("metadata").unwrap_or(&empty);
    let annotations = metadata.object("annotations");
    errors.extend(meta::validate_annotations(
        annotations,
        &path.child("annotations"),
    ));
    let labels = metadata.object("labels");
    errors.extend(meta::validate_labels(labels, &path.child("labels")));
    for field in OTHERS {
        let set = metadata.has(field)
            && metadata.text_opt(field) != Some("")
            && metadata.int(field) != Some(0);
        if set {
            let at = path.child(if *field == "uid" { "uID" } else { field });
            errors.push(FieldError::forbidden(&at, "cannot be set"));
        }
    }
}

fn image(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    if owner.pod.is_some() {
        required(errors, path, source, &["reference"]);
    }
    super::containers::required_one_of(
        errors,
        &path.child("pullPolicy"),
        source.text("pullPolicy"),
        &["Always", "IfNotPresent", "Never"],
    );
}

fn default_mode(errors: &mut ErrorList, path: &Path, source: &Object) {
    file_mode(
        errors,
        &path.child("defaultMode"),
        source.int("defaultMode"),
    );
}

fn file_mode(errors: &mut ErrorList, path: &Path, mode: Option<i64>) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        errors.push(FieldError::invalid(
            path,
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        ));
    }
}

/// Where a file stands in its volume: below it, and never where the kubelet keeps its own links.
pub(super) fn non_reserved_path(errors: &mut ErrorList, path: &Path, value: &str) {
    descending_path(errors, path, value);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

/// `items` of a ConfigMap or Secret.
fn items(errors: &mut ErrorList, path: &Path, source: &Object) {
    for (index, item) in source.objects("items") {
        key_to_path(errors, &path.child("items").index(index), item);
    }
}

/// A key, and the file that it becomes.
pub(super) fn key_to_path(errors: &mut ErrorList, path: &Path, item: &Object) {
    required(errors, path, item, &["key", "path"]);
    non_reserved_path(errors, &path.child("path"), item.text("path"));
    file_mode(errors, &path.child("mode"), item.int("mode"));
}

/// A file of the downward API.
pub(super) fn downward_file(errors: &mut ErrorList, path: &Path, file: &Object) {
    required(errors, path, file, &["path"]);
    non_reserved_path(errors, &path.child("path"), file.text("path"));
    let resource = file.object("resourceFieldRef");
    if let Some(field) = file.object("fieldRef") {
        let at = path.child("fieldRef");
        environment::field_ref(errors, &at, field, environment::FILE_FIELDS);
        if resource.is_some() {
            errors.push(FieldError::invalid(
                path,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            ));
        }
    } else if let Some(resource) = resource {
        let at = path.child("resourceFieldRef");
        environment::resource_field_ref(errors, &at, resource, true);
    } else {
        errors.push(FieldError::required(
            path,
            "one of fieldRef and resourceFieldRef is required",
        ));
    }
    file_mode(errors, &path.child("mode"), file.int("mode"));
}
