//! `networking.k8s.io/v1` ServiceCIDR: a range from which Services get addresses.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle, names,
    validate::text,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "servicecidrs"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "ServiceCIDR"),
    singular: "servicecidr",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "networking.k8s.io",
        "v1",
        "ServiceCIDR",
    ))],
    storage: Some(Storage::plain("servicecidrs")),
    strategy: &ServiceCidrStrategy,
};

#[derive(Debug)]
struct ServiceCidrStrategy;

impl Strategy for ServiceCidrStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("cidrs");
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let count = spec.list("cidrs").len();
        if count == 0 {
            errors.push(FieldError::required(&path, "at least one CIDR required"));
        } else if count > 2 {
            errors.push(FieldError::invalid(
                &path,
                spec.list("cidrs").to_vec(),
                "may only hold up to 2 values",
            ));
        }
        for (index, cidr) in spec.texts("cidrs").enumerate() {
            text(
                &mut errors,
                &path.index(index),
                cidr,
                names::strict_cidr(cidr),
            );
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let path = Path::new("spec").child("cidrs");
        let list = |o: &Object| -> Vec<String> {
            o.object("spec")
                .into_iter()
                .flat_map(|s| s.texts("cidrs"))
                .map(str::to_owned)
                .collect()
        };
        let (after, before) = (list(new), list(old));
        // A second family may be added, what is there stays.
        for (index, cidr) in before.iter().enumerate() {
            let now = after.get(index).cloned().unwrap_or_default();
            if now != *cidr {
                errors.push(FieldError::invalid(
                    &path.index(index),
                    now,
                    "field is immutable",
                ));
            }
        }
        errors
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_metadata(
            new,
            old,
            &["labels", "annotations", "finalizers", "ownerReferences"],
        );
    }
}
