//! The plain objects: namespaces, priority classes, config maps, the default service range.

use apimachinery::{Object, gvk::GroupResource};
use serde_json::{Value, json};

use super::{Config, Wanted, keep};
use crate::lookup;

const NAMESPACES: [&str; 4] = ["default", "kube-node-lease", "kube-public", "kube-system"];

pub(super) fn namespaces() -> impl Iterator<Item = Wanted> {
    NAMESPACES.into_iter().map(|name| Wanted {
        resource: GroupResource::new("", "namespaces"),
        object: object(
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
        ),
        mend: keep,
    })
}

/// Name, value, description.
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

pub(super) fn priority_classes() -> impl Iterator<Item = Wanted> {
    PRIORITY_CLASSES.into_iter().map(|(name, value, description)| Wanted {
        resource: GroupResource::new("scheduling.k8s.io", "priorityclasses"),
        object: object(json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
            "value": value, "description": description,
        })),
        mend: keep,
    })
}

/// What aggregated servers need to trust our clients, and since when tokens of the older form are tracked.
pub(super) fn config_maps(config: &Config, today: &str) -> Vec<Wanted> {
    let config_map = |name: &str, data: Value, mend| Wanted {
        resource: GroupResource::new("", "configmaps"),
        object: object(json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": name},
            "data": data,
        })),
        mend,
    };
    let mut data = json!({});
    if !config.client_ca_pem.is_empty() {
        data["client-ca-file"] = config.client_ca_pem.as_str().into();
    }
    if !config.request_header_ca_pem.is_empty() {
        data["requestheader-client-ca-file"] = config.request_header_ca_pem.as_str().into();
        let header = &config.request_header;
        for (key, list) in [
            ("requestheader-username-headers", &header.username_headers),
            ("requestheader-uid-headers", &header.uid_headers),
            ("requestheader-group-headers", &header.group_headers),
            (
                "requestheader-extra-headers-prefix",
                &header.extra_header_prefixes,
            ),
            ("requestheader-allowed-names", &header.allowed_names),
        ] {
            data[key] = json!(list).to_string().into();
        }
    }
    vec![
        config_map("extension-apiserver-authentication", data, add_data),
        config_map(
            "kube-apiserver-legacy-service-account-token-tracking",
            json!({"since": today}),
            keep,
        ),
    ]
}

/// The authorities of this server join those of others: a client of any of them is to be trusted by all.
fn add_data(existing: &Object, wanted: &Object) -> Option<Object> {
    let mut mended = existing.clone();
    for (key, value) in lookup::map(wanted, &["data"])? {
        let value = value.as_str().unwrap_or_default();
        let there = lookup::text(existing, &["data", key]);
        if there.contains(value.trim()) {
            continue;
        }
        let joined = if key.ends_with("ca-file") && !there.is_empty() {
            format!("{}\n{value}", there.trim_end())
        } else {
            value.to_owned()
        };
        lookup::set(&mut mended, &["data", key], joined);
    }
    (mended != *existing).then_some(mended)
}

/// The range that `--service-cluster-ip-range` names. Once made it stays: a changed flag is not a changed cluster.
pub(super) fn service_cidr(ranges: &[String]) -> Option<Wanted> {
    (!ranges.is_empty()).then(|| Wanted {
        resource: GroupResource::new("networking.k8s.io", "servicecidrs"),
        object: object(json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
            "spec": {"cidrs": ranges},
        })),
        mend: keep,
    })
}

/// A literal object of this module.
pub(super) fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        _ => unreachable!("bootstrap objects are written as JSON objects"),
    }
}
