//! `admissionregistration.k8s.io/v1` MutatingAdmissionPolicy.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicies",
    ),
    gvk: GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingAdmissionPolicy",
    ),
    singular: "mutatingadmissionpolicy",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("mutatingadmissionpolicies")),
    strategy: &MutatingAdmissionPolicyStrategy,
};

#[derive(Debug)]
struct MutatingAdmissionPolicyStrategy;

impl Strategy for MutatingAdmissionPolicyStrategy {}
