//! Rules of volumes and their sources.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::{
    containers::{descending_path, no_backsteps},
    environment,
};
use crate::{
    fields::{Fields, quantity},
    names,
    validate::{anything, one_of, required_text, text},
};

/// Checks all volumes, and gives the names of those that are good: a mount of another is a mount of nothing.
pub(super) fn validate<'a>(errors: &mut ErrorList, path: &Path, spec: &'a Object) -> Vec<&'a str> {
    let mut good: Vec<&str> = Vec::new();
    for (index, volume) in spec.objects("volumes") {
        let at = path.index(index);
        let name = volume.text("name");
        let mut found = Vec::new();
        source(&mut found, &at, volume);
        if name.is_empty() {
            found.push(FieldError::required(&at.child("name"), ""));
        } else {
            text(
                &mut found,
                &at.child("name"),
                name,
                names::dns1123_label(name),
            );
            if good.contains(&name) {
                found.push(FieldError::duplicate(&at.child("name"), name));
            }
        }
        if found.is_empty() {
            good.push(name);
        }
        errors.extend(found);
    }
    good
}

/// Fields that a source cannot do without, by source; those with more to say are in [`details`].
const REQUIRED: &[(&str, &[&str])] = &[
    ("hostPath", &["path"]),
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("secret", &["secretName"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("glusterfs", &["endpoints", "path"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("rbd", &["image"]),
    ("flexVolume", &["driver"]),
    ("cinder", &["volumeID"]),
    ("azureFile", &["secretName", "shareName"]),
    ("configMap", &["name"]),
    ("vsphereVolume", &["volumePath"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("photonPersistentDisk", &["pdID"]),
    ("portworxVolume", &["volumeID"]),
    ("scaleIO", &["gateway", "system", "volumeName"]),
    ("csi", &["driver"]),
    ("quobyte", &["volume"]),
];

/// The source of a volume: exactly one.
pub(crate) fn source(errors: &mut ErrorList, path: &Path, volume: &Object) {
    let mut found = 0;
    for (name, value) in volume {
        let Some(source) = value.as_object() else {
            continue;
        };
        found += 1;
        let at = path.child(name);
        if found > 1 {
            errors.push(FieldError::forbidden(
                &at,
                "may not specify more than 1 volume type",
            ));
            continue;
        }
        for field in REQUIRED
            .iter()
            .filter(|(s, _)| s == name)
            .flat_map(|(_, f)| *f)
        {
            required_text(errors, &at.child(field), source.text(field), anything);
        }
        details(errors, &at, name, source);
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a volume type"));
    }
}

fn details(errors: &mut ErrorList, path: &Path, name: &str, source: &Object) {
    match name {
        "hostPath" => {
            no_backsteps(errors, &path.child("path"), source.text("path"));
            if !source.text("path").is_empty() {
                one_of(
                    errors,
                    &path.child("type"),
                    source.text("type"),
                    &[
                        "",
                        "BlockDevice",
                        "CharDevice",
                        "Directory",
                        "DirectoryOrCreate",
                        "File",
                        "FileOrCreate",
                        "Socket",
                    ],
                );
            }
        }
        "emptyDir"
            if source
                .get("sizeLimit")
                .and_then(quantity)
                .is_some_and(|q| q.sign() < 0) =>
        {
            errors.push(FieldError::forbidden(
                &path.child("sizeLimit"),
                "SizeLimit field must be a valid resource quantity",
            ));
        }
        "secret" | "configMap" => {
            file_mode(
                errors,
                &path.child("defaultMode"),
                source.int("defaultMode"),
            );
            items(errors, path, source);
        }
        "nfs" if !source.text("path").starts_with('/') => {
            errors.push(FieldError::invalid(
                &path.child("path"),
                source.text("path"),
                "must be an absolute path",
            ));
        }
        "iscsi" => iscsi(errors, path, source),
        "fc" if source.list("targetWWNs").is_empty() == source.list("wwids").is_empty() => {
            errors.push(FieldError::required(
                &path.child("targetWWNs"),
                "must specify either targetWWNs or wwids, but not both",
            ));
        }
        "cephfs" | "rbd" if source.list("monitors").is_empty() => {
            errors.push(FieldError::required(&path.child("monitors"), ""));
        }
        "downwardAPI" => {
            file_mode(
                errors,
                &path.child("defaultMode"),
                source.int("defaultMode"),
            );
            for (_, file) in source.objects("items") {
                downward_file(errors, path, file);
            }
        }
        "projected" => projected(errors, path, source),
        "csi" => {
            let driver = source.text("driver");
            if !driver.is_empty() {
                csi_driver_name(errors, &path.child("driver"), driver);
            }
        }
        "image" => {
            required_text(
                errors,
                &path.child("reference"),
                source.text("reference"),
                anything,
            );
            one_of(
                errors,
                &path.child("pullPolicy"),
                source.text("pullPolicy"),
                &["Always", "IfNotPresent", "Never"],
            );
        }
        "ephemeral" => {
            if let Some(template) = source.object("volumeClaimTemplate") {
                let at = path.child("volumeClaimTemplate").child("spec");
                let empty = Object::new();
                crate::kinds::core::persistent_volume_claim::validate_spec(
                    errors,
                    &at,
                    template.object("spec").unwrap_or(&empty),
                );
            } else {
                errors.push(FieldError::required(&path.child("volumeClaimTemplate"), ""));
            }
        }
        _ => {}
    }
}

fn iscsi(errors: &mut ErrorList, path: &Path, source: &Object) {
    let iqn = source.text("iqn");
    let named = ["iqn.", "eui.", "naa."].iter().any(|p| iqn.starts_with(p));
    if !iqn.is_empty() && !named {
        errors.push(FieldError::invalid(
            &path.child("iqn"),
            iqn,
            "must be valid format starting with iqn, eui, or naa",
        ));
    }
    let lun = source.int("lun").unwrap_or(0);
    errors.extend(
        names::in_range(lun, 0, 255)
            .into_iter()
            .map(|m| FieldError::invalid(&path.child("lun"), lun, m)),
    );
}

/// The name of a CSI driver.
pub(crate) fn csi_driver_name(errors: &mut ErrorList, path: &Path, name: &str) {
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > 63 {
        errors.push(FieldError::too_long(path, 63));
    }
    text(
        errors,
        path,
        name,
        names::dns1123_subdomain(&name.to_lowercase()),
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
fn non_reserved_path(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    let before = errors.len();
    descending_path(errors, path, value);
    if errors.len() == before && value.starts_with("..") {
        errors.push(FieldError::invalid(path, value, "must not start with '..'"));
    }
}

fn items(errors: &mut ErrorList, path: &Path, source: &Object) {
    for (index, item) in source.objects("items") {
        let at = path.child("items").index(index);
        required_text(errors, &at.child("key"), item.text("key"), anything);
        non_reserved_path(errors, &at.child("path"), item.text("path"));
        file_mode(errors, &at.child("mode"), item.int("mode"));
    }
}

fn downward_file(errors: &mut ErrorList, path: &Path, file: &Object) {
    non_reserved_path(errors, &path.child("path"), file.text("path"));
    if let Some(field) = file.object("fieldRef") {
        environment::field_ref(
            errors,
            &path.child("fieldRef"),
            field,
            environment::FILE_FIELDS,
        );
        if let Some(resource) = file.object("resourceFieldRef") {
            errors.push(FieldError::invalid(
                path,
                Value::Object(resource.clone()),
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            ));
        }
    } else if let Some(resource) = file.object("resourceFieldRef") {
        environment::resource_field_ref(errors, &path.child("resourceFieldRef"), resource, true);
    } else {
        errors.push(FieldError::required(
            path,
            "one of fieldRef and resourceFieldRef is required",
        ));
    }
    file_mode(errors, &path.child("mode"), file.int("mode"));
}

fn projected(errors: &mut ErrorList, path: &Path, volume: &Object) {
    file_mode(
        errors,
        &path.child("defaultMode"),
        volume.int("defaultMode"),
    );
    let mut all: Vec<String> = Vec::new();
    let taken = |errors: &mut ErrorList, file: &str, shown: &str, paths: &mut Vec<String>| {
        if !file.is_empty() && paths.iter().any(|p| p == file) {
            errors.push(FieldError::invalid(
                path,
                shown,
                "conflicting duplicate paths",
            ));
        }
        paths.push(file.to_owned());
    };
    for (index, source) in volume.objects("sources") {
        let at = path.child("sources").index(index);
        let mut found = 0;
        for (name, value) in source {
            let Some(part) = value.as_object() else {
                continue;
            };
            found += 1;
            let at = at.child(name);
            if found > 1 {
                errors.push(FieldError::forbidden(
                    &at,
                    "may not specify more than 1 volume type",
                ));
                continue;
            }
            match name.as_str() {
                "secret" | "configMap" => {
                    required_text(errors, &at.child("name"), part.text("name"), anything);
                    items(errors, &at, part);
                    for (_, item) in part.objects("items") {
                        taken(errors, item.text("path"), part.text("name"), &mut all);
                    }
                }
                "downwardAPI" => {
                    for (_, file) in part.objects("items") {
                        downward_file(errors, &at, file);
                        taken(errors, file.text("path"), file.text("path"), &mut all);
                    }
                }
                "serviceAccountToken" => {
                    let seconds = part.int("expirationSeconds").unwrap_or(0);
                    let expiration = at.child("expirationSeconds");
                    if seconds < 600 {
                        errors.push(FieldError::invalid(
                            &expiration,
                            seconds,
                            "may not specify a duration less than 10 minutes",
                        ));
                    } else if seconds > 1 << 32 {
                        errors.push(FieldError::invalid(
                            &expiration,
                            seconds,
                            "may not specify a duration larger than 2^32 seconds",
                        ));
                    }
                    non_reserved_path(errors, &path.child("path"), part.text("path"));
                    taken(errors, part.text("path"), part.text("path"), &mut all);
                }
                _ => {}
            }
        }
    }
}
