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
    kinds::resource::{device_names, selectors},
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
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        super::claim_status::validate(new, old)
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
    at_most(errors, &at, devices, "requests");
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
            (None, false) => alternatives(errors, &at.child("firstAvailable"), request),
        }
    }
    let names = RequestNames::of(devices);
    let constraints = path.child("devices").child("constraints");
    at_most(errors, &constraints, devices, "constraints");
    for (index, constraint) in devices.objects("constraints") {
        let at = constraints.index(index);
        for (i, name) in constraint.texts("requests").enumerate() {
            names.check(errors, &at.child("requests").index(i), name);
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
    at_most(errors, &config, devices, "config");
    for (index, entry) in devices.objects("config") {
        let at = config.index(index);
        for (i, name) in entry.texts("requests").enumerate() {
            names.check(errors, &at.child("requests").index(i), name);
        }
        device_names::configuration(errors, &at, entry);
    }
}

/// Claims have at most so many requests, constraints and configurations each.
fn at_most(errors: &mut ErrorList, path: &Path, devices: &Object, list: &str) {
    const MAX: usize = 32;
    let count = devices.list(list).len();
    if count > MAX {
        errors.push(FieldError::too_many(path, count, MAX));
    }
}

/// The names of a claim's requests, and of the alternatives in them.
pub(super) struct RequestNames<'a>(Vec<(&'a str, Vec<&'a str>)>);

impl<'a> RequestNames<'a> {
    /// Of `spec.devices`.
    fn of(devices: &'a Object) -> Self {
        let requests = devices.objects("requests").map(|(_, request)| {
            let alternatives = request.objects("firstAvailable");
            (
                request.text("name"),
                alternatives.map(|(_, a)| a.text("name")).collect(),
            )
        });
        Self(requests.collect())
    }

    /// Of a claim.
    pub(super) fn of_claim(claim: &'a Object) -> Self {
        let devices = claim.object("spec").and_then(|s| s.object("devices"));
        devices.map_or(Self(Vec::new()), Self::of)
    }

    /// A reference to a request, or to an alternative: `gpu/large`.
    pub(super) fn check(&self, errors: &mut ErrorList, path: &Path, name: &str) {
        const DETAIL: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let segments: Vec<&str> = name.split('/').collect();
        if segments.len() > 2 {
            errors.push(FieldError::invalid(path, name, DETAIL));
            return;
        }
        for segment in &segments {
            text(errors, path, segment, names::dns1123_label(segment));
        }
        let known = self.0.iter().any(|(request, alternatives)| {
            *request == segments[0]
                && segments
                    .get(1)
                    .is_none_or(|segment| alternatives.contains(segment))
        });
        if !known {
            errors.push(FieldError::invalid(path, name, DETAIL));
        }
    }
}

/// Requests of which the first that can be met is.
fn alternatives(errors: &mut ErrorList, path: &Path, request: &Object) {
    const MAX: usize = 8;
    let count = request.list("firstAvailable").len();
    if count > MAX {
        errors.push(FieldError::too_many(path, count, MAX));
    }
    let mut seen: Vec<&str> = Vec::new();
    for (index, alternative) in request.objects("firstAvailable") {
        let at = path.index(index);
        let name = alternative.text("name");
        required_text(errors, &at.child("name"), name, names::dns1123_label);
        device_request(errors, &at, alternative);
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        seen.push(name);
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
