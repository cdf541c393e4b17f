//! `resource.k8s.io/v1` DeviceClass: a sort of devices.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::{
        core::pod_spec::resources,
        resource::{device_names, lists, selectors},
    },
    lifecycle, names,
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
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        // What a name is generated from is not judged, but what comes of it.
        if prefix {
            Vec::new()
        } else {
            names::long_name(name)
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["spec"]);
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        const MAX_CONFIGURATIONS: usize = 32;
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        selectors::validate(&mut errors, &path, spec);
        lists::objects(
            &mut errors,
            &path.child("config"),
            spec.list("config"),
            MAX_CONFIGURATIONS,
            device_names::configuration,
        );
        if let Some(name) = spec.text_opt("extendedResourceName")
            && !is_extended_resource(name)
        {
            errors.push(FieldError::invalid(
                &path.child("extendedResourceName"),
                name,
                "must be a valid extended resource name",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        errors.extend(crate::meta::validate_update(new, old));
        errors.extend(self.validate(new));
        errors
    }
}

/// A resource that is not the cluster's own, and that a quota could name.
fn is_extended_resource(name: &str) -> bool {
    const QUOTA_PREFIX: &str = "requests.";
    !resources::is_native(name)
        && !name.starts_with(QUOTA_PREFIX)
        && names::qualified_name(&format!("{QUOTA_PREFIX}{name}")).is_empty()
}
