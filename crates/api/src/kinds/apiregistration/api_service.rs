//! `apiregistration.k8s.io/v1` APIService: a group and version that another server serves.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle, names,
    validate::text,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apiregistration.k8s.io", "v1", "apiservices"),
    gvk: GroupVersionKind::new("apiregistration.k8s.io", "v1", "APIService"),
    singular: "apiservice",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
    ))],
    storage: Some(Storage::plain("apiregistration.k8s.io/apiservices")),
    strategy: &ApiServiceStrategy,
};

#[derive(Debug)]
struct ApiServiceStrategy;

impl Strategy for ApiServiceStrategy {
    fn default(&self, object: &mut Object) {
        if let Some(service) = object.ensure_object("spec").object_mut("service") {
            service.set_default("port", 443);
        }
        object.ensure_object("status");
    }
    fn is_stored_as_json(&self) -> bool {
        true
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        if !object.object("spec").is_some_and(|s| s.has("service")) {
            // Served by this server itself, so there is nothing to probe.
            let now = meta::creation_timestamp(object).to_owned();
            object.ensure_object("status").set(
                "conditions",
                json!([{
                    "type": "Available", "status": "True", "lastTransitionTime": now,
                    "reason": "Local", "message": "Local APIServices are always available",
                }]),
            );
        }
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_metadata(
            new,
            old,
            &["labels", "annotations", "finalizers", "ownerReferences"],
        );
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            names::path_segment_prefix(name)
        } else {
            names::path_segment_name(name)
        }
    }
    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        let (group, version) = (spec.text("group"), spec.text("version"));
        let required = format!("{version}.{group}");
        let metadata = object.object("metadata").unwrap_or(&empty);
        // What a name is generated from is judged as the name is.
        for field in ["generateName", "name"] {
            let name = metadata.text(field);
            let judged = !name.is_empty() && names::path_segment_name(name).is_empty();
            if judged && name != required {
                errors.push(FieldError::invalid(
                    &Path::new("metadata").child(field),
                    name,
                    format!("must be `spec.version+\".\"+spec.group`: {required:?}"),
                ));
            }
        }
        if group.is_empty() && version != "v1" {
            errors.push(FieldError::required(
                &path.child("group"),
                "only v1 may have an empty group and it better be legacy kube",
            ));
        }
        // The core group has no name.
        if !group.is_empty() {
            let messages = names::dns1123_subdomain(group);
            text(&mut errors, &path.child("group"), group, messages);
        }
        let messages = names::dns1035_label(version);
        text(&mut errors, &path.child("version"), version, messages);
        for (field, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
            let priority = spec.int(field).unwrap_or(0);
            if !(1..=most).contains(&priority) {
                let detail = format!("must be positive and less than {most}");
                errors.push(FieldError::invalid(&path.child(field), priority, detail));
            }
        }
        served_from(&mut errors, &path, spec);
        errors
    }
    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        const KNOWN: [&str; 3] = ["True", "False", "Unknown"];
        let path = Path::new("status").child("conditions");
        let Some(status) = new.object("status") else {
            return Vec::new();
        };
        let conditions = status.objects("conditions");
        let states = conditions.map(|(index, condition)| (index, condition.text("status")));
        let unknown = states.filter(|(_, state)| !KNOWN.contains(state));
        unknown
            .map(|(index, state)| {
                FieldError::not_supported(&path.index(index).child("status"), state, &KNOWN)
            })
            .collect()
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}

/// Where requests go, and how the server there is known.
fn served_from(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let bundle = spec.text("caBundle");
    let unverified = spec.is_true("insecureSkipTLSVerify");
    let skip = path.child("insecureSkipTLSVerify");
    let Some(service) = spec.object("service") else {
        if !bundle.is_empty() {
            let length = BASE64.decode(bundle).map_or(0, |bytes| bytes.len());
            errors.push(FieldError::invalid(
                &path.child("caBundle"),
                format!("{length} bytes"),
                "local APIServices may not have a caBundle",
            ));
        }
        if unverified {
            errors.push(FieldError::invalid(
                &skip,
                true,
                "local APIServices may not have insecureSkipTLSVerify",
            ));
        }
        return;
    };
    let path = path.child("service");
    for field in ["namespace", "name"] {
        if service.text(field).is_empty() {
            errors.push(FieldError::required(&path.child(field), ""));
        }
    }
    let port = service.int("port").unwrap_or(0);
    for message in names::port_number(port) {
        let detail = format!("port is not valid: {message}");
        errors.push(FieldError::invalid(&path.child("port"), port, detail));
    }
    if unverified && !bundle.is_empty() {
        let detail = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(&skip, true, detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn complaints(spec: Value) -> Vec<String> {
        let object = json!({"metadata": {"name": "v1.example.com"}, "spec": spec});
        let errors = ApiServiceStrategy.validate(object.as_object().unwrap());
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn conditions_hold_or_do_not_or_nobody_knows() {
        let object = json!({"status": {"conditions": [
            {"type": "Available", "status": "True"}, {"type": "Other", "status": "true"},
        ]}});
        let object = object.as_object().unwrap();
        let errors = ApiServiceStrategy.validate_status_update(object, object);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "status.conditions[1].status: Unsupported value: \"true\": supported values: \"True\", \"False\", \"Unknown\""
            ]
        );
    }

    #[test]
    fn the_name_says_what_is_served() {
        let spec = |version: &str| {
            json!({
                "group": "example.com", "version": version,
                "groupPriorityMinimum": 20_000, "versionPriority": 1_000,
            })
        };
        assert!(complaints(spec("v1")).is_empty());
        let wrong = complaints(spec("v2"));
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].contains("\"v2.example.com\""), "{wrong:?}");
    }

    #[test]
    fn a_change_is_judged_like_the_whole() {
        let spec = json!({"group": "example.com", "version": "v2", "groupPriorityMinimum": 1, "versionPriority": 1});
        let object = json!({"metadata": {"name": "v1.example.com"}, "spec": spec});
        let object = object.as_object().unwrap();
        assert_eq!(ApiServiceStrategy.validate_update(object, object).len(), 1);
    }

    #[test]
    fn a_local_service_needs_no_certificates() {
        let spec = json!({
            "group": "example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "caBundle": "eHh4", "insecureSkipTLSVerify": true,
        });
        let wrong = complaints(spec);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].contains("3 bytes"), "{wrong:?}");
    }
}
