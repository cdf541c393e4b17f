//! `policy/v1` PodDisruptionBudget: how many pods an eviction may take away at once.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
    validate::{
        conditions, int_or_percent, invalid_shown, non_negatives, not_more_than_100_percent,
        one_of, selectors,
    },
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        let (min, max) = (spec.value("minAvailable"), spec.value("maxUnavailable"));
        if min.is_some() && max.is_some() {
            let ty = "io.k8s.api.policy.v1.PodDisruptionBudgetSpec";
            let shown = internal::shown(ty, object.get("spec"));
            errors.push(invalid_shown(
                &path,
                &shown,
                "minAvailable and maxUnavailable cannot be both set",
            ));
        }
        for (field, value) in [("minAvailable", min), ("maxUnavailable", max)] {
            if let Some(value) = value {
                int_or_percent(&mut errors, &path.child(field), value);
                not_more_than_100_percent(&mut errors, &path.child(field), value);
            }
        }
        if let Some(selector) = spec.object("selector") {
            selectors::label_selector(&mut errors, &path.child("selector"), selector);
        }
        if spec.has("unhealthyPodEvictionPolicy") {
            one_of(
                &mut errors,
                &path.child("unhealthyPodEvictionPolicy"),
                spec.text("unhealthyPodEvictionPolicy"),
                &["AlwaysAllow", "IfHealthyBudget"],
            );
        }
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let status = new.object("status").unwrap_or(&empty);
        let path = Path::new("status");
        conditions::validate(&mut errors, &path.child("conditions"), status);
        non_negatives(
            &mut errors,
            &path,
            status,
            &[
                "disruptionsAllowed",
                "currentHealthy",
                "desiredHealthy",
                "expectedPods",
            ],
        );
        errors
    }
    fn judges_new_metadata(&self) -> bool {
        false
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
}
