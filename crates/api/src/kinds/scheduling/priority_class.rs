//! `scheduling.k8s.io/v1` PriorityClass: a name for a priority, which never changes.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle,
    validate::one_of,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("scheduling.k8s.io", "v1", "priorityclasses"),
    gvk: GroupVersionKind::new("scheduling.k8s.io", "v1", "PriorityClass"),
    singular: "priorityclass",
    scope: Scope::Cluster,
    short_names: &["pc"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("priorityclasses")),
    strategy: &PriorityClassStrategy,
};

#[derive(Debug)]
struct PriorityClassStrategy;

impl Strategy for PriorityClassStrategy {
    fn default(&self, object: &mut Object) {
        object.set_default("preemptionPolicy", "PreemptLowerPriority");
        object.set_default("value", 0);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        // Upstream never raises it.
        lifecycle::bump_generation(new, old, &[]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        /// Above it are the priorities of the system itself.
        const HIGHEST_USER_PRIORITY: i64 = 1_000_000_000;
        let value = object.int("value").unwrap_or(0);
        let name = object.object("metadata").map_or("", |m| m.text("name"));
        let system = matches!(
            (name, value),
            ("system-node-critical", 2_000_001_000) | ("system-cluster-critical", 2_000_000_000)
        );
        if name.starts_with("system-") && !system {
            errors.push(FieldError::forbidden(
                &Path::new("metadata").child("name"),
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {name} is not a known system priority class"),
            ));
        } else if value > HIGHEST_USER_PRIORITY && !system {
            errors.push(FieldError::forbidden(
                &Path::new("value"),
                format!(
                    "maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
                ),
            ));
        }
        let at = Path::new("preemptionPolicy");
        match object.text_opt("preemptionPolicy") {
            None => {}
            Some("") => errors.push(FieldError::required(&at, "")),
            Some(policy) => one_of(&mut errors, &at, policy, &["PreemptLowerPriority", "Never"]),
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        if new.int("value").unwrap_or(0) != old.int("value").unwrap_or(0) {
            errors.push(FieldError::forbidden(
                &Path::new("value"),
                "may not be changed in an update.",
            ));
        }
        errors.extend(crate::meta::validate_immutable_field(
            new,
            old,
            "preemptionPolicy",
            &Path::default(),
        ));
        errors
    }
}
