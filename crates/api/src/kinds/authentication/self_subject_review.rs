//! `authentication.k8s.io/v1` SelfSubjectReview: who the caller is. Never stored.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("authentication.k8s.io", "v1", "selfsubjectreviews"),
    gvk: GroupVersionKind::new("authentication.k8s.io", "v1", "SelfSubjectReview"),
    singular: "selfsubjectreview",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::CREATE,
    subresources: &[],
    storage: None,
    strategy: &SelfSubjectReviewStrategy,
};

#[derive(Debug)]
struct SelfSubjectReviewStrategy;

impl Strategy for SelfSubjectReviewStrategy {}
