//! The older form: `/api`, `/apis`, and one document each for a group and for a version.

use std::{collections::BTreeMap, sync::Arc};

use api::{Scope, ServedResource};
use apimachinery::{Object, gvk::GroupVersionKind};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::digest;
use serde_json::{Value, json};

type Documents = BTreeMap<String, (Object, GroupVersionKind)>;

pub(super) fn documents(rows: &[Arc<ServedResource>], server_address: &str) -> Documents {
    let mut documents = Documents::new();
    let mut add = |path: String, kind: &'static str, document: Value| {
        if let Value::Object(object) = document {
            documents.insert(path, (object, GroupVersionKind::new("", "v1", kind)));
        }
    };
    let mut groups = Vec::new();
    for (group, versions) in versions_by_group(rows) {
        for version in &versions {
            let rows: Vec<_> = rows
                .iter()
                .filter(|row| row.gvr.group == group && row.gvr.version == *version)
                .collect();
            let path = if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            };
            add(
                path,
                "APIResourceList",
                resource_list(group, version, &rows),
            );
        }
        if group.is_empty() {
            let address = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]);
            let document = json!({"kind": "APIVersions", "versions": versions, "serverAddressByClientCIDRs": address});
            add("/api".to_owned(), "APIVersions", document);
        } else {
            let mut document = group_document(group, &versions);
            groups.push(document.clone());
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            add(format!("/apis/{group}"), "APIGroup", document);
        }
    }
    let list = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
    add("/apis".to_owned(), "APIGroupList", list);
    documents
}

/// Groups and their versions, in order of their first rows.
pub(super) fn versions_by_group(rows: &[Arc<ServedResource>]) -> Vec<(&str, Vec<&str>)> {
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in rows {
        let (group, version) = (&*row.gvr.group, &*row.gvr.version);
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, versions)) if versions.contains(&version) => {}
            Some((_, versions)) => versions.push(version),
            None => groups.push((group, vec![version])),
        }
    }
    groups
}

fn group_document(group: &str, versions: &[&str]) -> Value {
    let version =
        |version: &str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().copied().map(version).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

fn resource_list(group: &str, version: &str, rows: &[&Arc<ServedResource>]) -> Value {
    let mut resources: Vec<(String, Value)> = rows.iter().flat_map(|row| entries(row)).collect();
    resources.sort_by(|(a, _), (b, _)| a.cmp(b));
    let resources: Vec<Value> = resources.into_iter().map(|(_, entry)| entry).collect();
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let mut list =
        json!({"kind": "APIResourceList", "groupVersion": group_version, "resources": resources});
    // Upstream's core list is of the unversioned kind of old.
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    list
}

/// A resource and its subresources.
fn entries(row: &ServedResource) -> Vec<(String, Value)> {
    let name = &*row.gvr.resource;
    let namespaced = row.scope == Scope::Namespaced;
    let entry = |name: &str, singular: &str, gvk: &GroupVersionKind, verbs: &[&str]| {
        let mut entry = json!({
            "name": name, "singularName": singular, "namespaced": namespaced, "kind": gvk.kind, "verbs": verbs,
        });
        if gvk.group != row.gvr.group || gvk.version != row.gvr.version {
            entry["group"] = json!(gvk.group);
            entry["version"] = json!(gvk.version);
        }
        entry
    };
    let mut entries = Vec::with_capacity(1 + row.subresources.len());
    if !row.verbs.is_empty() {
        let mut own = entry(name, &row.singular, &row.gvk, row.verbs);
        if !row.short_names.is_empty() {
            own["shortNames"] = json!(row.short_names);
        }
        if !row.categories.is_empty() {
            own["categories"] = json!(row.categories);
        }
        if let Some(hash) = storage_version_hash(row) {
            own["storageVersionHash"] = hash.into();
        }
        entries.push((name.to_owned(), own));
    }
    for subresource in &row.subresources {
        let name = format!("{name}/{}", subresource.name);
        let entry = entry(&name, "", &subresource.gvk, subresource.verbs);
        entries.push((name, entry));
    }
    entries
}

/// Changes when objects begin to be stored in another version (KEP-2339's hash of the stored kind).
fn storage_version_hash(row: &ServedResource) -> Option<String> {
    let storage = row.storage.as_ref()?;
    let stored = &storage.gvk;
    let text = format!("{}/{}/{}", stored.group, stored.version, stored.kind);
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    Some(BASE64_STANDARD.encode(&digest.as_ref()[..8]))
}
