//! `resource.k8s.io/v1` ResourceSlice: devices that a driver offers.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "resourceslices"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "ResourceSlice"),
    singular: "resourceslice",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("resourceslices")),
    strategy: &ResourceSliceStrategy,
};

#[derive(Debug)]
struct ResourceSliceStrategy;

impl Strategy for ResourceSliceStrategy {
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        let path = Path::new("spec");
        let mut errors = Vec::new();
        for field in ["driver", "nodeName"] {
            errors.extend(crate::meta::validate_immutable_field(
                after, before, field, &path,
            ));
        }
        errors
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let spec = |f| object.object("spec").map_or("", |s| s.text(f)).to_owned();
        vec![
            ("spec.nodeName", spec("nodeName")),
            ("spec.driver", spec("driver")),
        ]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "spec.nodeName" | "spec.driver")
    }
}
