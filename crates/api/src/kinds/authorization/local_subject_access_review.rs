//! `authorization.k8s.io/v1` LocalSubjectAccessReview: whether someone may do something in a namespace. Never stored.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("authorization.k8s.io", "v1", "localsubjectaccessreviews"),
    gvk: GroupVersionKind::new("authorization.k8s.io", "v1", "LocalSubjectAccessReview"),
    singular: "localsubjectaccessreview",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::CREATE,
    subresources: &[],
    storage: None,
    strategy: &LocalSubjectAccessReviewStrategy,
};

#[derive(Debug)]
struct LocalSubjectAccessReviewStrategy;

impl Strategy for LocalSubjectAccessReviewStrategy {}
