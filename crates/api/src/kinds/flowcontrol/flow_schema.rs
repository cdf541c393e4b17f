//! `flowcontrol.apiserver.k8s.io/v1` FlowSchema: which requests belong together, and to which level.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"),
    gvk: GroupVersionKind::new("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema"),
    singular: "flowschema",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "FlowSchema",
    ))],
    storage: Some(Storage::plain("flowschemas")),
    strategy: &FlowSchemaStrategy,
};

#[derive(Debug)]
struct FlowSchemaStrategy;

impl Strategy for FlowSchemaStrategy {
    fn default(&self, object: &mut Object) {
        object
            .ensure_object("spec")
            .set_default_zero("matchingPrecedence", 1000);
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
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
        let spec = object.object("spec").unwrap_or(&empty);
        let path = Path::new("spec");
        let precedence = spec.int("matchingPrecedence").unwrap_or(0);
        if !(1..=10_000).contains(&precedence) {
            errors.push(FieldError::invalid(
                &path.child("matchingPrecedence"),
                precedence,
                "must be a value between 1 and 10000",
            ));
        }
        let level = spec
            .object("priorityLevelConfiguration")
            .map_or("", |p| p.text("name"));
        if level.is_empty() {
            errors.push(FieldError::required(
                &path.child("priorityLevelConfiguration").child("name"),
                "must reference a priority level",
            ));
        }
        for (index, rule) in spec.objects("rules") {
            policy_rule(&mut errors, &path.child("rules").index(index), rule);
        }
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}

fn policy_rule(errors: &mut ErrorList, at: &Path, rule: &Object) {
    if rule.list("subjects").is_empty() {
        errors.push(FieldError::required(
            &at.child("subjects"),
            "subjects must contain at least one value",
        ));
    }
    for (index, subject) in rule.objects("subjects") {
        let at = at.child("subjects").index(index);
        let (field, kind) = match subject.text("kind") {
            "User" => ("user", "User"),
            "Group" => ("group", "Group"),
            "ServiceAccount" => ("serviceAccount", "ServiceAccount"),
            other => {
                errors.push(FieldError::not_supported(
                    &at.child("kind"),
                    other,
                    &["Group", "ServiceAccount", "User"],
                ));
                continue;
            }
        };
        if !subject.has(field) {
            errors.push(FieldError::required(
                &at.child(field),
                format!("{field} is required when subject kind is '{kind}'"),
            ));
        }
    }
    if rule.list("resourceRules").is_empty() && rule.list("nonResourceRules").is_empty() {
        errors.push(FieldError::required(
            at,
            "at least one of resourceRules and nonResourceRules has to be non-empty",
        ));
    }
    for (index, non_resource) in rule.objects("nonResourceRules") {
        let at = at
            .child("nonResourceRules")
            .index(index)
            .child("nonResourceURLs");
        for (i, url) in non_resource.texts("nonResourceURLs").enumerate() {
            if url != "*" && !url.starts_with('/') {
                errors.push(FieldError::invalid(
                    &at.index(i),
                    url,
                    "must start with slash",
                ));
            }
        }
    }
}
