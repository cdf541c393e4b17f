//! What a volume is made of: the rules of each source, and that there is exactly one. Volumes of pods and PersistentVolumes have the
//! same sources but for a few; each has its table, in upstream's order.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};

use crate::{
    fields::Fields,
    names,
    validate::{one_of, text},
};

/// A source, and where its complaints stand.
pub(super) struct Source {
    /// The field of the volume.
    pub(super) field: &'static str,
    /// Its path in complaints about it; upstream has a few names of its own.
    pub(super) path: &'static str,
    /// Its path in the complaint that it is one too many; empty if upstream does not make it.
    pub(super) too_many: &'static str,
    pub(super) rules: Rules,
}

pub(super) type Rules = fn(&mut ErrorList, &Path, &Object, &Owner<'_>);

/// A source whose paths are its name.
pub(super) const fn source(field: &'static str, rules: Rules) -> Source {
    Source {
        field,
        path: field,
        too_many: field,
        rules,
    }
}

/// Whose source it is.
pub(super) struct Owner<'a> {
    /// The volume, or the spec of the PersistentVolume.
    pub(super) volume: &'a Object,
    /// The name of the volume.
    pub(super) name: &'a str,
    /// Its path, for complaints about the volume's name.
    pub(super) path: &'a Path,
    /// Whether it is a PersistentVolume.
    pub(super) persistent: bool,
    /// The metadata of its pod; a template has none.
    pub(super) pod: Option<&'a Object>,
}

/// The sources of a volume: the first is judged, the others are too many.
pub(super) fn exactly_one(errors: &mut ErrorList, owner: &Owner<'_>, table: &[Source]) {
    let mut found = 0;
    for row in table {
        let Some(source) = owner.volume.object(row.field) else {
            continue;
        };
        if found > 0 && !row.too_many.is_empty() {
            errors.push(FieldError::forbidden(
                &owner.path.child(row.too_many),
                "may not specify more than 1 volume type",
            ));
        } else {
            found += 1;
            (row.rules)(errors, &owner.path.child(row.path), source, owner);
        }
    }
    if found == 0 {
        let detail = "must specify a volume type";
        errors.push(FieldError::required(owner.path, detail));
    }
}

/// Fields that a source cannot do without.
pub(super) fn required(errors: &mut ErrorList, path: &Path, source: &Object, fields: &[&str]) {
    for field in fields {
        if source.text(field).is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    }
}

/// A reference to a secret, of which `fields` must be there.
fn secret_ref(errors: &mut ErrorList, path: &Path, source: &Object, fields: &[&str]) {
    if let Some(secret) = source.object("secretRef") {
        required(errors, &path.child("secretRef"), secret, fields);
    }
}

/// What a reference to a secret needs: PersistentVolumes are in no namespace.
fn secret_fields(owner: &Owner<'_>) -> &'static [&'static str] {
    if owner.persistent {
        &["name", "namespace"]
    } else {
        &["name"]
    }
}

pub(super) fn host_path(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    const TYPES: &[&str] = &[
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if source.text("path").is_empty() {
        errors.push(FieldError::required(&path.child("path"), ""));
        return;
    }
    no_backsteps(errors, &path.child("path"), source.text("path"));
    if let Some(kind) = source.text_opt("type") {
        one_of(errors, &path.child("type"), kind, TYPES);
    }
}

/// A disk of which one partition is meant: `partition` is none, or one of 255.
fn partition(errors: &mut ErrorList, path: &Path, source: &Object) {
    let number = source.int("partition").unwrap_or(0);
    if !(0..=255).contains(&number) {
        errors.push(FieldError::invalid(
            &path.child("partition"),
            number,
            "must be between 1 and 255, inclusive",
        ));
    }
}

pub(super) fn gce_persistent_disk(
    errors: &mut ErrorList,
    path: &Path,
    source: &Object,
    _: &Owner<'_>,
) {
    required(errors, path, source, &["pdName"]);
    partition(errors, path, source);
}

pub(super) fn aws_elastic_block_store(
    errors: &mut ErrorList,
    path: &Path,
    source: &Object,
    _: &Owner<'_>,
) {
    required(errors, path, source, &["volumeID"]);
    partition(errors, path, source);
}

pub(super) fn nfs(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["server", "path"]);
    let exported = source.text("path");
    if !exported.starts_with('/') {
        let detail = "must be an absolute path";
        errors.push(FieldError::invalid(&path.child("path"), exported, detail));
    }
}

pub(super) fn iscsi(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    const TOO_LONG: &str = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
    let portal = source.text("targetPortal");
    required(errors, path, source, &["targetPortal"]);
    let initiator = source.text_opt("initiatorName");
    let too_long = initiator.is_some() && owner.name.len() + 1 + portal.len() > 64;
    if too_long && owner.persistent {
        // Upstream's path has no capital.
        let at = path.child("targetportal");
        errors.push(FieldError::invalid(&at, portal, TOO_LONG));
    }
    let words = if owner.persistent {
        "must be valid format"
    } else {
        "must be valid format starting with iqn, eui, or naa"
    };
    match source.text("iqn") {
        "" => errors.push(FieldError::required(&path.child("iqn"), "")),
        name => qualified(errors, &path.child("iqn"), name, words),
    }
    let lun = source.int("lun").unwrap_or(0);
    for complaint in names::in_range(lun, 0, 255) {
        errors.push(FieldError::invalid(&path.child("lun"), lun, complaint));
    }
    let chap = source.is_true("chapAuthDiscovery") || source.is_true("chapAuthSession");
    if chap && !source.has("secretRef") {
        errors.push(FieldError::required(&path.child("secretRef"), ""));
    }
    if owner.persistent {
        secret_ref(errors, path, source, &["name"]);
    }
    if let Some(name) = initiator {
        qualified(errors, &path.child("initiatorname"), name, words);
    }
    if too_long && !owner.persistent {
        let at = owner.path.child("name");
        errors.push(FieldError::invalid(&at, owner.name, TOO_LONG));
    }
}

/// A name of an iSCSI node: `iqn.2001-04.com.example:disk`, `eui.` with 16 letters or digits, `naa.` with 32.
fn qualified(errors: &mut ErrorList, path: &Path, name: &str, when_other: &str) {
    let complaint = match name.get(..3) {
        Some("iqn") => (!is_iqn(name)).then_some("must be valid format"),
        Some("eui") => (!is_numbered(name, 16)).then_some("must be valid format"),
        Some("naa") => (!is_numbered(name, 32)).then_some("must be valid format"),
        _ => Some(when_other),
    };
    errors.extend(complaint.map(|detail| FieldError::invalid(path, name, detail)));
}

fn is_iqn(name: &str) -> bool {
    let Some((authority, rest)) = name.split_once(':') else {
        return false;
    };
    let Some(dated) = authority.strip_prefix("iqn.") else {
        return false;
    };
    let bytes = dated.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|b| b.iter().all(u8::is_ascii_digit))
    };
    digits(0..4)
        && bytes.get(4) == Some(&b'-')
        && digits(5..7)
        && bytes.get(7) == Some(&b'.')
        && bytes.len() > 8
        && bytes[8..]
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
        && !rest.is_empty()
        && !rest.contains(|c: char| ",;*&$|".contains(c) || c.is_ascii_whitespace())
}

fn is_numbered(name: &str, length: usize) -> bool {
    let number: Vec<char> = name.chars().skip(4).collect();
    name.chars().count() == 4 + length && number.iter().all(char::is_ascii_alphanumeric)
}

pub(super) fn glusterfs(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    required(errors, path, source, &["endpoints", "path"]);
    if let Some(namespace) = source.text_opt("endpointsNamespace")
        && owner.persistent
    {
        let at = path.child("endpointsNamespace");
        if namespace.is_empty() {
            let detail = "if the endpointnamespace is set, it must be a valid namespace name";
            errors.push(FieldError::invalid(&at, namespace, detail));
        } else {
            text(errors, &at, namespace, names::dns1123_label(namespace));
        }
    }
}

pub(super) fn flocker(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    let (name, uuid) = (source.text("datasetName"), source.text("datasetUUID"));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => errors.push(FieldError::required(
            path,
            "one of datasetName and datasetUUID is required",
        )),
        (false, false) => errors.push(FieldError::invalid(
            path,
            "resource",
            "datasetName and datasetUUID can not be specified simultaneously",
        )),
        _ => {}
    }
    if name.contains('/') {
        let at = path.child("datasetName");
        errors.push(FieldError::invalid(&at, name, "must not contain '/'"));
    }
}

/// RBD and CephFS are found through their monitors.
fn monitors(errors: &mut ErrorList, path: &Path, source: &Object) {
    if source.list("monitors").is_empty() {
        errors.push(FieldError::required(&path.child("monitors"), ""));
    }
}

pub(super) fn rbd(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    monitors(errors, path, source);
    required(errors, path, source, &["image"]);
}

pub(super) fn cephfs(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    monitors(errors, path, source);
}

pub(super) fn cinder(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    required(errors, path, source, &["volumeID"]);
    secret_ref(errors, path, source, secret_fields(owner));
}

pub(super) fn quobyte(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    const FORM: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = source.text("registry");
    let at = path.child("registry");
    if registry.is_empty() {
        errors.push(FieldError::required(&at, FORM));
    } else if source.text("tenant").len() >= 65 {
        let detail = "must be a UUID and may not exceed a length of 64 characters";
        errors.push(FieldError::required(&path.child("tenant"), detail));
    } else {
        let bad = registry.split(',').filter(|pair| !is_host_port(pair));
        errors.extend(bad.map(|_| FieldError::invalid(&at, registry, FORM)));
    }
    required(errors, path, source, &["volume"]);
}

/// `host:port`, the host in brackets where it has colons of its own.
fn is_host_port(pair: &str) -> bool {
    match pair.strip_prefix('[') {
        Some(rest) => rest
            .split_once(']')
            .and_then(|(_, after)| after.strip_prefix(':'))
            .is_some_and(|port| !port.contains([':', '[', ']'])),
        None => pair.split_once(':').is_some_and(|(host, port)| {
            !host.contains(['[', ']']) && !port.contains([':', '[', ']'])
        }),
    }
}

pub(super) fn fc(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    let at = path.child("targetWWNs");
    let (names, ids) = (source.list("targetWWNs"), source.list("wwids"));
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => errors.push(FieldError::required(
            &at,
            "must specify either targetWWNs or wwids, but not both",
        )),
        (false, false) => errors.push(FieldError::invalid(
            &at,
            names.to_vec(),
            "targetWWNs and wwids can not be specified simultaneously",
        )),
        _ => {}
    }
    if names.is_empty() {
        return;
    }
    let at = path.child("lun");
    match source.int("lun") {
        None => errors.push(FieldError::required(
            &at,
            "lun is required if targetWWNs is specified",
        )),
        Some(lun) => {
            let complaints = names::in_range(lun, 0, 255).into_iter();
            errors.extend(complaints.map(|detail| FieldError::invalid(&at, lun, detail)));
        }
    }
}

pub(super) fn flex_volume(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["driver"]);
    for (key, _) in source.object("options").into_iter().flatten() {
        let namespace = key.split_once('/').map_or(key.as_str(), |(first, _)| first);
        let dotted = format!(".{}", namespace.to_lowercase());
        if dotted.ends_with(".kubernetes.io") || dotted.ends_with(".k8s.io") {
            errors.push(FieldError::invalid(
                &path.child("options").key(key),
                key.as_str(),
                "kubernetes.io and k8s.io namespaces are reserved",
            ));
        }
    }
}

pub(super) fn azure_file(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    required(errors, path, source, &["secretName", "shareName"]);
    if owner.persistent && source.text_opt("secretNamespace") == Some("") {
        errors.push(FieldError::required(&path.child("secretNamespace"), ""));
    }
}

pub(super) fn azure_disk(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["diskName", "diskURI"]);
    if let Some(mode) = source.text_opt("cachingMode") {
        let modes = &["None", "ReadOnly", "ReadWrite"];
        one_of(errors, &path.child("cachingMode"), mode, modes);
    }
    let Some(kind) = source.text_opt("kind") else {
        return;
    };
    let kinds = &["Dedicated", "Managed", "Shared"];
    one_of(errors, &path.child("kind"), kind, kinds);
    let uri = source.text("diskURI");
    let (start, form) = if kind == "Managed" {
        (
            "/subscriptions/",
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
        )
    } else {
        (
            "https://",
            "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
        )
    };
    if !uri.starts_with(start) {
        let at = path.child("diskURI");
        errors.push(FieldError::not_supported(&at, uri, &[form]));
    }
}

pub(super) fn vsphere_volume(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["volumePath"]);
}

pub(super) fn photon_persistent_disk(
    errors: &mut ErrorList,
    path: &Path,
    source: &Object,
    _: &Owner<'_>,
) {
    required(errors, path, source, &["pdID"]);
}

pub(super) fn portworx_volume(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["volumeID"]);
}

pub(super) fn scale_io(errors: &mut ErrorList, path: &Path, source: &Object, _: &Owner<'_>) {
    required(errors, path, source, &["gateway", "system", "volumeName"]);
}

pub(super) fn storage_os(errors: &mut ErrorList, path: &Path, source: &Object, owner: &Owner<'_>) {
    let name = source.text("volumeName");
    let at = path.child("volumeName");
    if name.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        text(errors, &at, name, names::dns1123_label(name));
    }
    let namespace = source.text("volumeNamespace");
    if !namespace.is_empty() {
        let complaints = names::dns1123_label(namespace);
        text(
            errors,
            &path.child("volumeNamespace"),
            namespace,
            complaints,
        );
    }
    secret_ref(errors, path, source, secret_fields(owner));
}

/// The name of a CSI driver.
pub(crate) fn csi_driver_name(errors: &mut ErrorList, path: &Path, name: &str) {
    const MAX: usize = 63;
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    if name.len() > MAX {
        errors.push(FieldError::too_long(path, MAX));
    }
    let complaints = names::dns1123_subdomain(&name.to_lowercase());
    text(errors, path, name, complaints);
}

/// A path below some root: relative, and never upwards.
pub(super) fn descending_path(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    no_backsteps(errors, path, value);
}

/// No part of a path is `..`.
pub(super) fn no_backsteps(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.split('/').any(|part| part == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_iscsi_nodes() {
        for good in [
            "iqn.2001-04.com.example:storage.disk1",
            "eui.0123456789abcdef",
            "naa.0123456789abcdef0123456789abcdef",
        ] {
            let mut errors = Vec::new();
            qualified(&mut errors, &Path::new("iqn"), good, "other");
            assert!(errors.is_empty(), "{good}: {errors:?}");
        }
        for bad in [
            "iqn.2001-04.com.example",
            "iqn.01-04.a:b",
            "iqn.2001-04.a:b c",
            "eui.1",
        ] {
            let mut errors = Vec::new();
            qualified(&mut errors, &Path::new("iqn"), bad, "other");
            assert_eq!(errors[0].detail, "must be valid format", "{bad}");
        }
    }

    #[test]
    fn the_first_in_the_table_is_the_source() {
        let table = [source("nfs", nfs), source("rbd", rbd)];
        let volume = json!({"rbd": {}, "nfs": {"server": "s", "path": "p"}});
        let path = Path::new("v");
        let owner = Owner {
            volume: volume.as_object().unwrap(),
            name: "v",
            path: &path,
            persistent: true,
            pod: None,
        };
        let mut errors = Vec::new();
        exactly_one(&mut errors, &owner, &table);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "v.nfs.path: Invalid value: \"p\": must be an absolute path",
                "v.rbd: Forbidden: may not specify more than 1 volume type",
            ]
        );
    }
}
