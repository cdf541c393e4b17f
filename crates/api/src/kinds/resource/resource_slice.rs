//! `resource.k8s.io/v1` ResourceSlice: devices that a driver offers.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::resource::device_names,
    lifecycle, names,
    validate::{invalid_shown, required_text, selectors, text},
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        validate_spec(
            &mut errors,
            &Path::new("spec"),
            object.object("spec").unwrap_or(&empty),
        );
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let empty = Object::new();
        let (after, before) = (
            new.object("spec").unwrap_or(&empty),
            old.object("spec").unwrap_or(&empty),
        );
        let path = Path::new("spec");
        let mut errors = self.validate(new);
        let pool = |spec: &Object| spec.object("pool").cloned().unwrap_or_default();
        errors.extend(crate::meta::validate_immutable_field(
            &pool(after),
            &pool(before),
            "name",
            &path.child("pool"),
        ));
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

const MAX_DEVICES: usize = 128;

fn validate_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
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
    nodes(errors, path, spec);
    let devices = path.child("devices");
    let count = spec.list("devices").len();
    if count > MAX_DEVICES {
        errors.push(FieldError::too_many(&devices, count, MAX_DEVICES));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, device) in spec.objects("devices") {
        let name = device.text("name");
        let at = devices.index(index).child("name");
        required_text(errors, &at, name, names::dns1123_label);
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at, name));
        }
        seen.push(name);
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
                &internal::in_go_names(
                    "io.k8s.api.core.v1.NodeSelectorTerm",
                    selector.list("nodeSelectorTerms"),
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
