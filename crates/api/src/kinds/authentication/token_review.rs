//! `authentication.k8s.io/v1` TokenReview: whose token this is. Never stored.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("authentication.k8s.io", "v1", "tokenreviews"),
    gvk: GroupVersionKind::new("authentication.k8s.io", "v1", "TokenReview"),
    singular: "tokenreview",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::CREATE,
    subresources: &[],
    storage: None,
    strategy: &TokenReviewStrategy,
};

#[derive(Debug)]
struct TokenReviewStrategy;

impl Strategy for TokenReviewStrategy {}
