//! `resource.k8s.io/v1` ResourceClaim: a request for devices.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::resource::selectors,
    lifecycle, names,
    validate::{one_of, required_text, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("resource.k8s.io", "v1", "resourceclaims"),
    gvk: GroupVersionKind::new("resource.k8s.io", "v1", "ResourceClaim"),
    singular: "resourceclaim",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "resource.k8s.io",
        "v1",
        "ResourceClaim",
    ))],
    storage: Some(Storage::plain("resourceclaims")),
    strategy: &ResourceClaimStrategy,
};

#[derive(Debug)]
struct ResourceClaimStrategy;

impl Strategy for ResourceClaimStrategy {
    fn default(&self, object: &mut Object) {
        default_claim_spec(object.ensure_object("spec"));
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
        let empty = Object::new();
        validate_claim_spec(
            &mut errors,
            &Path::new("spec"),
            object.object("spec").unwrap_or(&empty),
        );
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        crate::meta::validate_immutable_field(new, old, "spec", &Path::default())
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

/// Of a claim or the template of one: how many devices a request wants.
pub fn default_claim_spec(spec: &mut Object) {
    spec.ensure_object("devices")
        .each_object("requests", |request| {
            if let Some(exactly) = request.object_mut("exactly") {
                default_request(exactly);
            }
            request.each_object("firstAvailable", default_request);
        });
}

fn default_request(request: &mut Object) {
    request.set_default_zero("allocationMode", "ExactCount");
    if request.text("allocationMode") == "ExactCount" {
        request.set_default_zero("count", 1);
    }
    request.each_object("tolerations", |t| t.set_default_zero("operator", "Equal"));
}

/// The rules of a claim's spec, also in templates.
pub fn validate_claim_spec(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let empty = Object::new();
    let devices = spec.object("devices").unwrap_or(&empty);
    let at = path.child("devices").child("requests");
    let mut seen: Vec<&str> = Vec::new();
    for (index, request) in devices.objects("requests") {
        let at = at.index(index);
        let name = request.text("name");
        required_text(errors, &at.child("name"), name, names::dns1123_label);
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at, name));
        }
        seen.push(name);
        match (request.object("exactly"), request.list("firstAvailable").is_empty()) {
            (Some(_), false) => errors.push(FieldError::invalid(
                &at,
                Value::Null,
                "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
            )),
            (None, true) => errors.push(FieldError::required(
                &at,
                "exactly one of `exactly` or `firstAvailable` is required",
            )),
            (Some(exactly), true) => device_request(errors, &at.child("exactly"), exactly),
            (None, false) => {
                for (sub, alternative) in request.objects("firstAvailable") {
                    let at = at.child("firstAvailable").index(sub);
                    selectors::validate(errors, &at, alternative);
                }
            }
        }
    }
    let constraints = path.child("devices").child("constraints");
    for (index, constraint) in devices.objects("constraints") {
        let at = constraints.index(index);
        for (i, name) in constraint.texts("requests").enumerate() {
            let main = name.split('/').next().unwrap_or(name);
            if !seen.contains(&main) {
                errors.push(FieldError::invalid(
                    &at.child("requests").index(i),
                    name,
                    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'",
                ));
            }
        }
        if let Some(attribute) = constraint.text_opt("matchAttribute")
            && !attribute.contains('/')
        {
            errors.push(FieldError::invalid(
                &at.child("matchAttribute"),
                attribute,
                "a fully qualified name must be a domain and a name separated by a slash",
            ));
        }
    }
    let config = path.child("devices").child("config");
    for (index, entry) in devices.objects("config") {
        if let Some(opaque) = entry.object("opaque") {
            let at = config.index(index).child("opaque");
            let driver = opaque.text("driver");
            text(
                errors,
                &at.child("driver"),
                driver,
                names::dns1123_subdomain(driver),
            );
            if opaque.get("parameters").is_some_and(|p| !p.is_object()) {
                errors.push(FieldError::invalid(
                    &at.child("parameters"),
                    "<value omitted>",
                    "must be a valid JSON object",
                ));
            }
        }
    }
}

fn device_request(errors: &mut ErrorList, path: &Path, request: &Object) {
    required_text(
        errors,
        &path.child("deviceClassName"),
        request.text("deviceClassName"),
        names::dns1123_subdomain,
    );
    selectors::validate(errors, path, request);
    let count = request.int("count").unwrap_or(0);
    match request.text("allocationMode") {
        "All" if count != 0 => errors.push(FieldError::invalid(
            &path.child("count"),
            count,
            "must not be specified when allocationMode is 'All'",
        )),
        "ExactCount" if count <= 0 => errors.push(FieldError::invalid(
            &path.child("count"),
            count,
            "must be greater than zero",
        )),
        mode => one_of(
            errors,
            &path.child("allocationMode"),
            mode,
            &["All", "ExactCount"],
        ),
    }
}
