//! `resource.k8s.io/v1` ResourceClaim: a request for devices.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::resource::{device_names, lists, selectors},
    lifecycle,
    meta::IMMUTABLE,
    names,
    validate::{invalid_shown, one_of, text},
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

    fn repeats_metadata_rules(&self) -> bool {
        false
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
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        errors.extend(crate::meta::validate_update(new, old));
        if !internal::same_field_of_kind(new, old, "spec") {
            let ty = "io.k8s.api.resource.v1.ResourceClaimSpec";
            let shown = internal::shown(ty, new.get("spec"));
            errors.push(invalid_shown(&Path::new("spec"), &shown, IMMUTABLE));
        }
        errors
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        super::claim_status::validate(new, old)
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::reset_metadata_for_status(new, old);
        super::claim_status::forget_deallocated(new, old);
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
    const MAX: usize = 32;
    let empty = Object::new();
    let devices = spec.object("devices").unwrap_or(&empty);
    let path = path.child("devices");
    lists::object_set(
        errors,
        &path.child("requests"),
        devices.list("requests"),
        MAX,
        request,
        "name",
    );
    let names = RequestNames::of(devices);
    let references = |errors: &mut ErrorList, at: &Path, owner: &Object| {
        let at = at.child("requests");
        lists::text_set(
            errors,
            &at,
            owner.list("requests"),
            MAX,
            |errors, at, name| {
                names.check(errors, at, name);
            },
        );
    };
    lists::objects(
        errors,
        &path.child("constraints"),
        devices.list("constraints"),
        MAX,
        |errors, at, constraint| {
            references(errors, at, constraint);
            let attribute = |field: &'static str| Some((field, constraint.text_opt(field)?));
            match attribute("matchAttribute").or_else(|| attribute("distinctAttribute")) {
                Some((field, name)) => {
                    device_names::fully_qualified(errors, &at.child(field), name);
                }
                None => errors.push(FieldError::required(
                    at,
                    "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
                )),
            }
        },
    );
    lists::objects(
        errors,
        &path.child("config"),
        devices.list("config"),
        MAX,
        |errors, at, entry| {
            references(errors, at, entry);
            device_names::configuration(errors, at, entry);
        },
    );
}

/// Either exactly what is wanted, or alternatives of which the first that can be met is taken.
fn request(errors: &mut ErrorList, at: &Path, request: &Object) {
    const ONE_OF: &str = "exactly one of `exactly` or `firstAvailable` is required";
    const MAX_ALTERNATIVES: usize = 8;
    device_names::label(errors, &at.child("name"), request.text("name"));
    let alternatives = request.list("firstAvailable");
    match (request.object("exactly"), alternatives.is_empty()) {
        (Some(_), false) => errors.push(FieldError::invalid(
            at,
            Value::Null,
            format!("{ONE_OF}, but multiple fields are set"),
        )),
        (None, true) => errors.push(FieldError::required(at, ONE_OF)),
        (Some(exactly), true) => device_request(errors, &at.child("exactly"), exactly),
        (None, false) => lists::object_set(
            errors,
            &at.child("firstAvailable"),
            alternatives,
            MAX_ALTERNATIVES,
            |errors, at, alternative| {
                device_names::label(errors, &at.child("name"), alternative.text("name"));
                device_request(errors, at, alternative);
            },
            "name",
        ),
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

fn device_request(errors: &mut ErrorList, path: &Path, request: &Object) {
    device_names::class(
        errors,
        &path.child("deviceClassName"),
        request.text("deviceClassName"),
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
    for (index, toleration) in request.objects("tolerations") {
        let at = path.child("tolerations").index(index);
        device_names::toleration(errors, &at, toleration);
    }
}
