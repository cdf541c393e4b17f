//! The older form: `/api`, `/apis`, and one document each for a group and for a version.

use std::sync::Arc;

use api::{Scope, ServedResource};
use apimachinery::{Object, gvk::GroupVersionKind};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::digest;
use serde_json::{Value, json};

use super::priority::versions_by_group;
use crate::aggregation::RemoteVersion;

/// The document at a path, without a trailing slash.
pub(super) fn document(
    rows: &[Arc<ServedResource>],
    remote: &[RemoteVersion],
    path: &str,
    server_address: &str,
) -> Option<(Object, GroupVersionKind)> {
    let (kind, document) = match path.split('/').skip(1).collect::<Vec<_>>().as_slice() {
        ["api"] => ("APIVersions", core_versions(rows, server_address)),
        ["api", version] => ("APIResourceList", resource_list("", version, rows)?),
        ["apis"] => ("APIGroupList", group_list(rows, remote)),
        ["apis", group] => ("APIGroup", whole_group(rows, remote, group)?),
        ["apis", group, version] => ("APIResourceList", resource_list(group, version, rows)?),
        _ => return None,
    };
    let object = document.as_object().cloned()?;
    Some((object, GroupVersionKind::new("", "v1", kind)))
}

/// All paths with a document.
pub(super) fn paths(rows: &[Arc<ServedResource>], remote: &[RemoteVersion]) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/apis".to_owned()];
    for (group, versions) in versions_by_group(rows, remote) {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
        }
        for version in versions {
            paths.push(match group {
                "" => format!("/api/{version}"),
                group => format!("/apis/{group}/{version}"),
            });
        }
    }
    paths
}

fn core_versions(rows: &[Arc<ServedResource>], server_address: &str) -> Value {
    let groups = versions_by_group(rows, &[]);
    let core = groups.iter().find(|(group, _)| group.is_empty());
    let versions = core.map(|(_, versions)| versions.as_slice());
    json!({
        "kind": "APIVersions", "versions": versions.unwrap_or_default(),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}],
    })
}

fn group_list(rows: &[Arc<ServedResource>], remote: &[RemoteVersion]) -> Value {
    let groups: Vec<Value> = versions_by_group(rows, remote)
        .into_iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_document(group, &versions))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn whole_group(
    rows: &[Arc<ServedResource>],
    remote: &[RemoteVersion],
    group: &str,
) -> Option<Value> {
    let own: Vec<_> = rows
        .iter()
        .filter(|row| row.gvr.group == group)
        .cloned()
        .collect();
    let groups = versions_by_group(&own, remote);
    let found = groups.iter().find(|(name, _)| *name == group);
    let (_, versions) = found.filter(|_| !group.is_empty())?;
    let mut document = group_document(group, versions);
    document["kind"] = "APIGroup".into();
    document["apiVersion"] = "v1".into();
    Some(document)
}

fn group_document(group: &str, versions: &[&str]) -> Value {
    let version =
        |version: &str| json!({"groupVersion": format!("{group}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().copied().map(version).collect();
    json!({"name": group, "versions": all, "preferredVersion": all.first()})
}

fn resource_list(group: &str, version: &str, rows: &[Arc<ServedResource>]) -> Option<Value> {
    let mut own = rows
        .iter()
        .filter(|row| row.gvr.group == group && row.gvr.version == version)
        .peekable();
    own.peek()?;
    let mut resources: Vec<(String, Value)> = own.flat_map(|row| entries(row)).collect();
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
    Some(list)
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
