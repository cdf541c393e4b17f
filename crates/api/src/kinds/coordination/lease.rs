//! `coordination.k8s.io/v1` Lease: who holds something until when: leaders, and nodes that are alive.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    validate::non_negative,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("coordination.k8s.io", "v1", "leases"),
    gvk: GroupVersionKind::new("coordination.k8s.io", "v1", "Lease"),
    singular: "lease",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("leases")),
    strategy: &LeaseStrategy,
};

#[derive(Debug)]
struct LeaseStrategy;

impl Strategy for LeaseStrategy {
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
    fn prepare_for_create(&self, object: &mut Object) {
        drop_disabled(object);
    }
    fn prepare_for_update(&self, new: &mut Object, _old: &Object) {
        drop_disabled(new);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        if let Some(seconds) = spec.int("leaseDurationSeconds").filter(|s| *s <= 0) {
            errors.push(FieldError::invalid(
                &path.child("leaseDurationSeconds"),
                seconds,
                "must be greater than 0",
            ));
        }
        non_negative(
            &mut errors,
            &path.child("leaseTransitions"),
            spec.int("leaseTransitions"),
        );
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}

/// Coordinated leader election is not on in a default cluster, and fields of features that are off are not kept.
fn drop_disabled(lease: &mut Object) {
    if let Some(spec) = lease.object_mut("spec") {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}
