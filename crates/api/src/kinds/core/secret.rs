//! `v1` Secret.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "secrets"),
    gvk: GroupVersionKind::new("", "v1", "Secret"),
    singular: "secret",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("secrets")),
    strategy: &SecretStrategy,
};

#[derive(Debug)]
struct SecretStrategy;

impl Strategy for SecretStrategy {}
