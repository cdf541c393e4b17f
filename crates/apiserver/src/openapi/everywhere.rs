//! In which groups and versions upstream's documents say that `DeleteOptions` and `WatchEvent` are: all that its libraries know, served or not.

use serde_json::{Value, json};

/// Groups, each with its versions, in order; those that the client library knows.
const CLIENT: &[(&str, &[&str])] = &[
    ("", &["v1"]),
    (
        "admissionregistration.k8s.io",
        &["v1", "v1alpha1", "v1beta1"],
    ),
    ("apps", &["v1", "v1beta1", "v1beta2"]),
    ("authentication.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("authorization.k8s.io", &["v1", "v1beta1"]),
    ("autoscaling", &["v1", "v2"]),
    ("batch", &["v1", "v1beta1"]),
    ("certificates.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("coordination.k8s.io", &["v1", "v1alpha2", "v1beta1"]),
    ("discovery.k8s.io", &["v1", "v1beta1"]),
    ("events.k8s.io", &["v1", "v1beta1"]),
    ("extensions", &["v1beta1"]),
    (
        "flowcontrol.apiserver.k8s.io",
        &["v1", "v1beta1", "v1beta2", "v1beta3"],
    ),
    ("internal.apiserver.k8s.io", &["v1alpha1"]),
    ("networking.k8s.io", &["v1", "v1beta1"]),
    ("node.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("policy", &["v1", "v1beta1"]),
    ("rbac.authorization.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("resource.k8s.io", &["v1", "v1alpha3", "v1beta1", "v1beta2"]),
    ("scheduling.k8s.io", &["v1", "v1alpha2", "v1beta1"]),
    ("storage.k8s.io", &["v1", "v1alpha1", "v1beta1"]),
    ("storagemigration.k8s.io", &["v1beta1"]),
];

/// Those that the server knows besides.
const SERVER: &[(&str, &[&str])] = &[
    ("admission.k8s.io", &["v1", "v1beta1"]),
    ("apiextensions.k8s.io", &["v1", "v1beta1"]),
    ("apiregistration.k8s.io", &["v1", "v1beta1"]),
    ("imagepolicy.k8s.io", &["v1alpha1"]),
];

/// Whether a kind of `meta/v1` is of every group.
pub(super) fn has(kind: &str) -> bool {
    matches!(kind, "DeleteOptions" | "WatchEvent")
}

/// The kinds that it is in the documents of custom resources.
pub(super) fn of_clients(kind: &str) -> Vec<Value> {
    kinds(CLIENT.iter(), kind)
}

/// The kinds that it is in the document of all groups.
pub(super) fn of_all(kind: &str) -> Vec<Value> {
    kinds(CLIENT.iter().chain(SERVER), kind)
}

fn kinds<'t>(groups: impl Iterator<Item = &'t (&'t str, &'t [&'t str])>, kind: &str) -> Vec<Value> {
    let mut groups: Vec<_> = groups.collect();
    groups.sort();
    let versions = groups
        .into_iter()
        .flat_map(|(group, versions)| versions.iter().map(move |version| (group, version)));
    versions
        .map(|(group, version)| json!({"group": group, "kind": kind, "version": version}))
        .collect()
}
