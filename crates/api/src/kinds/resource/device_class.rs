//! `resource.k8s.io/v1` DeviceClass: a sort of devices.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::resource::{device_names, selectors},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "deviceclasses"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "DeviceClass"),
    singular: "deviceclass",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("deviceclasses")),
    strategy: &DeviceClassStrategy,
};

#[derive(Debug)]
struct DeviceClassStrategy;

impl Strategy for DeviceClassStrategy {
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        const MAX_CONFIGURATIONS: usize = 32;
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        selectors::validate(&mut errors, &path, spec);
        let config = path.child("config");
        let count = spec.list("config").len();
        if count > MAX_CONFIGURATIONS {
            errors.push(FieldError::too_many(&config, count, MAX_CONFIGURATIONS));
        }
        for (index, entry) in spec.objects("config") {
            device_names::configuration(&mut errors, &config.index(index), entry);
        }
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}
