//! `resource.k8s.io/v1` ResourceSlice: devices that a driver offers.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    quote,
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::resource::{device, device_names, lists},
    lifecycle,
    meta::immutable_field,
    names,
    validate::{invalid_shown, selectors, text},
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
    fn default_times(&self, object: &mut Object, now: &str) {
        let Some(spec) = object.object_mut("spec") else {
            return;
        };
        spec.each_object("devices", |device| {
            device.each_object("taints", |taint| taint.set_default("timeAdded", now));
        });
    }
    fn prepare_for_create(&self, object: &mut Object) {
        drop_disabled(object, None);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        // What is dropped because nobody may use it counts as a change.
        lifecycle::bump_generation(new, old, &["spec"]);
        drop_disabled(new, Some(old));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        validate_spec(
            &mut errors,
            &Path::new("spec"),
            object.object("spec").unwrap_or(&empty),
            None,
        );
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        let mut errors = Vec::new();
        validate_spec(&mut errors, &Path::new("spec"), after, Some(before));
        errors
    }
    fn warnings(&self, new: &Object, _old: Option<&Object>) -> Vec<String> {
        let driver = new.object("spec").map_or("", |spec| spec.text("driver"));
        if driver.chars().any(char::is_uppercase) {
            vec![format!(
                "spec.driver: driver names should be lowercase; {} contains uppercase characters",
                quote(driver)
            )]
        } else {
            Vec::new()
        }
    }
    fn unknown_field_label(&self, served: &GroupVersionKind, field: &str) -> String {
        format!("field label not supported for {served}: {field}")
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

/// Fields behind feature gates that are off by default: they stay only where they are in use.
fn drop_disabled(object: &mut Object, old: Option<&Object>) {
    const MAPPINGS: &str = "nodeAllocatableResourceMappings";
    fn attributes_of(device: &Object) -> impl Iterator<Item = &Value> {
        let attributes = device.object("attributes");
        attributes.into_iter().flat_map(Object::values)
    }
    let is_used = |has: &dyn Fn(&Object) -> bool| {
        let spec = old.and_then(|old| old.object("spec"));
        spec.is_some_and(|spec| spec.objects("devices").any(|(_, device)| has(device)))
    };
    let lists_used = is_used(&|device| {
        attributes_of(device)
            .any(|value| device::LISTS.iter().any(|list| value.get(list).is_some()))
    });
    let mappings_used = is_used(&|device| device.contains_key(MAPPINGS));
    let Some(devices) = object
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("devices"))
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    for device in devices.iter_mut().filter_map(Value::as_object_mut) {
        if !mappings_used {
            device.remove(MAPPINGS);
        }
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
        let attributes = attributes.into_iter().flat_map(Object::values_mut);
        for attribute in attributes.filter_map(Value::as_object_mut) {
            if !lists_used {
                device::LISTS.iter().for_each(|list| {
                    attribute.remove(*list);
                });
            }
        }
    }
}

fn validate_spec(errors: &mut ErrorList, path: &Path, spec: &Object, old: Option<&Object>) {
    device_names::driver(errors, &path.child("driver"), spec.text("driver"));
    let empty = Object::new();
    let pool = spec.object("pool").unwrap_or(&empty);
    let at = path.child("pool");
    device_names::pool(errors, &at.child("name"), pool.text("name"));
    let slices = pool.int("resourceSliceCount").unwrap_or(0);
    if slices <= 0 {
        errors.push(FieldError::invalid(
            &at.child("resourceSliceCount"),
            slices,
            "must be greater than zero",
        ));
    }
    let generation = pool.int("generation").unwrap_or(0);
    if generation < 0 {
        errors.push(FieldError::invalid(
            &at.child("generation"),
            generation,
            "must be greater than or equal to zero",
        ));
    }
    if let Some(old) = old {
        identity(errors, path, spec, old);
    }
    nodes(errors, path, spec);
    if spec.has("sharedCounters") && spec.has("devices") {
        errors.push(FieldError::invalid(
            path,
            "",
            "only one of `sharedCounters` or `devices` is allowed",
        ));
    }
    let chosen_by_device = spec.is_true("perDeviceNodeSelection");
    lists::object_set(
        errors,
        &path.child("devices"),
        spec.list("devices"),
        max_devices(spec),
        |errors, at, device| {
            let before = old.and_then(|old| {
                let mut devices = old.objects("devices").map(|(_, device)| device);
                devices.find(|before| before.text("name") == device.text("name"))
            });
            device::validate(errors, at, device, before, chosen_by_device);
        },
        "name",
    );
    lists::object_set(
        errors,
        &path.child("sharedCounters"),
        spec.list("sharedCounters"),
        MAX_COUNTER_SETS,
        |errors, at, set| device::counters(errors, at, set, "name"),
        "name",
    );
}

const MAX_COUNTER_SETS: usize = 8;

/// Fewer where devices have what takes more room.
fn max_devices(spec: &Object) -> usize {
    let lists = ["bools", "ints", "strings", "versions"];
    let is_large = |device: &Object| {
        let mut attributes = device.object("attributes").into_iter().flatten();
        !device.list("taints").is_empty()
            || !device.list("consumesCounters").is_empty()
            || attributes.any(|(_, value)| {
                let attribute = value.as_object();
                attribute.is_some_and(|a| lists.iter().any(|list| a.has(list)))
            })
    };
    if spec.objects("devices").any(|(_, device)| is_large(device)) {
        64
    } else {
        128
    }
}

/// A slice stays with its pool, its driver and its node.
fn identity(errors: &mut ErrorList, path: &Path, new: &Object, old: &Object) {
    let empty = Object::new();
    let pool = |spec| Fields::object(spec, "pool").unwrap_or(&empty);
    errors.extend(immutable_field(
        "io.k8s.api.resource.v1.ResourcePool",
        pool(new),
        pool(old),
        "name",
        &path.child("pool"),
    ));
    for field in ["driver", "nodeName"] {
        let ty = "io.k8s.api.resource.v1.ResourceSliceSpec";
        errors.extend(immutable_field(ty, new, old, field, path));
    }
}

/// From where the devices can be used is said in exactly one way.
fn nodes(errors: &mut ErrorList, path: &Path, spec: &Object) {
    const ONE_OF: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut said = Vec::new();
    match spec.text_opt("nodeName") {
        Some("") => errors.push(FieldError::invalid(
            &path.child("nodeName"),
            "",
            "must be either unset or set to a non-empty string",
        )),
        Some(node) => {
            said.push("`nodeName`");
            let at = path.child("nodeName");
            text(errors, &at, node, names::dns1123_subdomain(node));
        }
        None => {}
    }
    if let Some(selector) = spec.object("nodeSelector") {
        said.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        selectors::node_selector(errors, &at, selector);
        if selector.list("nodeSelectorTerms").len() != 1 {
            errors.push(invalid_shown(
                &at.child("nodeSelectorTerms"),
                &internal::shown_field(
                    "io.k8s.api.core.v1.NodeSelector",
                    selector,
                    "nodeSelectorTerms",
                ),
                "must have exactly one node selector term",
            ));
        }
    }
    for (field, shown) in [
        ("allNodes", "`allNodes`"),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`"),
    ] {
        match spec.bool_opt(field) {
            Some(true) => said.push(shown),
            Some(false) => errors.push(FieldError::invalid(
                &path.child(field),
                false,
                "must be either unset or set to true",
            )),
            None => {}
        }
    }
    match said.len() {
        0 => errors.push(FieldError::required(path, ONE_OF)),
        1 => {}
        _ => errors.push(FieldError::invalid(
            path,
            format!("{{{}}}", said.join(", ")),
            format!("{ONE_OF}, but multiple fields are set"),
        )),
    }
}
