//! `policy/v1` PodDisruptionBudget.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

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

impl Strategy for PodDisruptionBudgetStrategy {
    fn default(&self, object: &mut Object) {
        lifecycle::zeroes(
            object.ensure_object("status"),
            &[
                "disruptionsAllowed",
                "currentHealthy",
                "desiredHealthy",
                "expectedPods",
            ],
        );
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        lifecycle::zeroes(
            object.ensure_object("status"),
            &[
                "disruptionsAllowed",
                "currentHealthy",
                "desiredHealthy",
                "expectedPods",
            ],
        );
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
