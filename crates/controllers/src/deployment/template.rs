//! Pod templates: which ReplicaSet runs the Deployment's, and the hash that names it.

use client::Object as _;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// The label that tells the pods of a Deployment's ReplicaSets apart.
pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// The template of a Deployment.
pub(super) fn of_deployment(deployment: &Deployment) -> PodTemplateSpec {
    deployment
        .spec
        .as_ref()
        .map(|spec| spec.template.clone())
        .unwrap_or_default()
}

/// Whether a ReplicaSet runs this template, the hash label aside.
pub(super) fn runs(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let Some(own) = set.spec.as_ref().and_then(|spec| spec.template.as_ref()) else {
        return false;
    };
    own.spec == template.spec && metadata_without_hash(own) == metadata_without_hash(template)
}

fn metadata_without_hash(template: &PodTemplateSpec) -> ObjectMeta {
    let mut metadata = template.metadata.clone().unwrap_or_default();
    if let Some(labels) = &mut metadata.labels {
        labels.remove(HASH_LABEL);
        if labels.is_empty() {
            metadata.labels = None;
        }
    }
    metadata
}

/// A short name for a template, different after each collision.
pub(super) fn hash(template: &PodTemplateSpec, collision_count: Option<i32>) -> String {
    let json =
        serde_json::to_vec(template).expect("templates have string keys and encode without fail");
    hash_of(&json, collision_count)
}

/// A short name for encoded data: FNV-1a, printed in letters and digits that make no words. The fields of what is hashed have a fixed order.
pub(crate) fn hash_of(data: &[u8], collision_count: Option<i32>) -> String {
    let count = collision_count.map(i32::to_le_bytes);
    let mut hash = 0x811c_9dc5_u32;
    for byte in data.iter().chain(count.iter().flatten()) {
        hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    }
    safe_encode(&hash.to_string())
}

/// Upstream's `SafeEncodeString`: no vowels and no digits that look like them, so that no words come out.
fn safe_encode(text: &str) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    text.bytes()
        .map(|byte| char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]))
        .collect()
}

/// The new ReplicaSet of a Deployment, without size and annotations.
pub(super) fn new_replica_set(deployment: &Deployment) -> ReplicaSet {
    use client::Kind as _;
    let spec = deployment.spec.clone().unwrap_or_default();
    let collision_count = deployment
        .status
        .as_ref()
        .and_then(|status| status.collision_count);
    let mut template = spec.template;
    let hash = hash(&template, collision_count);
    let labels = template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name())),
            namespace: Some(deployment.namespace().to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![deployment.controller_owner_reference()]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}
