//! `policy/v1` PodDisruptionBudget.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("policy", "v1", "poddisruptionbudgets"),
    gvk: GroupVersionKind::new("policy", "v1", "PodDisruptionBudget"),
    singular: "poddisruptionbudget",
    scope: Scope::Namespaced,
    short_names: &["pdb"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "policy",
        "v1",
        "PodDisruptionBudget",
    ))],
    storage: Some(Storage::plain("poddisruptionbudgets")),
    strategy: &PodDisruptionBudgetStrategy,
};

#[derive(Debug)]
struct PodDisruptionBudgetStrategy;

impl Strategy for PodDisruptionBudgetStrategy {}
