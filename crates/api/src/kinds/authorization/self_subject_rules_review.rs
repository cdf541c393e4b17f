//! `authorization.k8s.io/v1` SelfSubjectRulesReview: what the caller may do in a namespace. Never stored.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("authorization.k8s.io", "v1", "selfsubjectrulesreviews"),
    gvk: GroupVersionKind::new("authorization.k8s.io", "v1", "SelfSubjectRulesReview"),
    singular: "selfsubjectrulesreview",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::CREATE,
    subresources: &[],
    storage: None,
    strategy: &SelfSubjectRulesReviewStrategy,
};

#[derive(Debug)]
struct SelfSubjectRulesReviewStrategy;

impl Strategy for SelfSubjectRulesReviewStrategy {}
