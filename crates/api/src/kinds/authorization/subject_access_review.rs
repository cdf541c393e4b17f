//! `authorization.k8s.io/v1` SubjectAccessReview: whether someone may do something. Never stored.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("authorization.k8s.io", "v1", "subjectaccessreviews"),
    gvk: GroupVersionKind::new("authorization.k8s.io", "v1", "SubjectAccessReview"),
    singular: "subjectaccessreview",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::CREATE,
    subresources: &[],
    storage: None,
    strategy: &SubjectAccessReviewStrategy,
};

#[derive(Debug)]
struct SubjectAccessReviewStrategy;

impl Strategy for SubjectAccessReviewStrategy {}
