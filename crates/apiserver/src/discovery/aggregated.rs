//! The aggregated form (KEP-3352): everything under `/api`, and everything under `/apis`, in one document each.

use std::{collections::BTreeMap, sync::Arc};

use api::{Scope, ServedResource};
use apimachinery::{Object, gvk::GroupVersionKind};
use http::HeaderValue;
use ring::digest;
use serde_json::{Value, json};

use super::{AGGREGATED, Aggregated, priority::versions_by_group};
use crate::{aggregation::RemoteVersion, storage};

pub(super) fn lists(
    rows: &[Arc<ServedResource>],
    remote: &[RemoteVersion],
) -> BTreeMap<&'static str, Aggregated> {
    let (core, named): (Vec<_>, Vec<_>) = rows
        .iter()
        .cloned()
        .partition(|row| row.gvr.group.is_empty());
    [("/api", list(&core, &[])), ("/apis", list(&named, remote))].into()
}

fn list(rows: &[Arc<ServedResource>], remote: &[RemoteVersion]) -> Aggregated {
    let groups: Vec<Value> = versions_by_group(rows, remote)
        .into_iter()
        .map(|(name, versions)| group(name, &versions, rows, remote))
        .collect();
    let document = Object::from_iter([
        ("kind".to_owned(), AGGREGATED.kind.as_ref().into()),
        (
            "apiVersion".to_owned(),
            AGGREGATED.group_version().to_string().into(),
        ),
        ("metadata".to_owned(), json!({})),
        ("items".to_owned(), groups.into()),
    ]);
    let mut json = Vec::new();
    storage::write_json(&document, &mut json);
    json.push(b'\n');
    let hash: String = digest::digest(&digest::SHA512, &json)
        .as_ref()
        .iter()
        .map(|b| format!("{b:02X}"))
        .collect();
    let etag = HeaderValue::try_from(format!("\"{hash}\""))
        .expect("hexadecimal digits are a header value");
    Aggregated {
        document,
        json: json.into(),
        etag,
    }
}

fn group(
    name: &str,
    versions: &[&str],
    rows: &[Arc<ServedResource>],
    remote: &[RemoteVersion],
) -> Value {
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            // Who has an APIService of another server serves the version, whatever else is here.
            let elsewhere = |r: &&RemoteVersion| r.group == name && r.version == *version;
            if let Some(remote) = remote.iter().find(elsewhere) {
                let freshness = if remote.fresh { "Current" } else { "Stale" };
                return json!({
                    "version": version, "resources": *remote.resources, "freshness": freshness,
                });
            }
            let own = rows
                .iter()
                .filter(|row| row.gvr.group == name && row.gvr.version == *version);
            let mut own: Vec<_> = own.collect();
            own.sort_by(|a, b| a.gvr.resource.cmp(&b.gvr.resource));
            let resources: Vec<Value> = own.into_iter().map(|row| resource(row)).collect();
            json!({"version": version, "resources": resources, "freshness": "Current"})
        })
        .collect();
    let metadata = if name.is_empty() {
        json!({})
    } else {
        json!({"name": name})
    };
    json!({"metadata": metadata, "versions": versions})
}

fn resource(row: &ServedResource) -> Value {
    let scope = match row.scope {
        Scope::Namespaced => "Namespaced",
        Scope::Cluster => "Cluster",
    };
    let mut entry = json!({
        "resource": row.gvr.resource, "responseKind": response_kind(row, &row.gvk), "scope": scope,
        "singularResource": row.singular, "verbs": row.verbs,
    });
    if !row.short_names.is_empty() {
        entry["shortNames"] = json!(row.short_names);
    }
    if !row.categories.is_empty() {
        entry["categories"] = json!(row.categories);
    }
    if !row.subresources.is_empty() {
        let subresources: Vec<Value> = row
            .subresources
            .iter()
            .map(|sub| json!({"subresource": sub.name, "responseKind": response_kind(row, &sub.gvk), "verbs": sub.verbs}))
            .collect();
        entry["subresources"] = subresources.into();
    }
    entry
}

/// Group and version stay empty where they are the resource's own.
fn response_kind(row: &ServedResource, gvk: &GroupVersionKind) -> Value {
    let own = gvk.group == row.gvr.group && gvk.version == row.gvr.version;
    let (group, version) = if own {
        ("", "")
    } else {
        (&*gvk.group, &*gvk.version)
    };
    json!({"group": group, "version": version, "kind": gvk.kind})
}
