//! `authorization.k8s.io/v1` SelfSubjectAccessReview: whether the caller may do something. Never stored.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("authorization.k8s.io", "v1", "selfsubjectaccessreviews"),
    gvk: GroupVersionKind::new("authorization.k8s.io", "v1", "SelfSubjectAccessReview"),
    singular: "selfsubjectaccessreview",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::CREATE,
    subresources: &[],
    storage: None,
    strategy: &SelfSubjectAccessReviewStrategy,
};

#[derive(Debug)]
struct SelfSubjectAccessReviewStrategy;

impl Strategy for SelfSubjectAccessReviewStrategy {}
