//! `v1` ResourceQuota: the sum that a namespace's objects may take.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::resources,
    lifecycle, names,
    validate::text,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "resourcequotas"),
    gvk: GroupVersionKind::new("", "v1", "ResourceQuota"),
    singular: "resourcequota",
    scope: Scope::Namespaced,
    short_names: &["quota"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "",
        "v1",
        "ResourceQuota",
    ))],
    storage: Some(Storage::plain("resourcequotas")),
    strategy: &ResourceQuotaStrategy,
};

#[derive(Debug)]
struct ResourceQuotaStrategy;

impl Strategy for ResourceQuotaStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_quota(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = self.validate(new);
        let scopes = |quota: &Object| -> Vec<String> {
            let spec = quota.object("spec").into_iter();
            let mut scopes: Vec<String> = spec
                .flat_map(|s| s.texts("scopes").map(str::to_owned))
                .collect();
            scopes.sort();
            scopes.dedup();
            scopes
        };
        if scopes(new) != scopes(old) {
            let shown = new.object("spec").and_then(|s| s.get("scopes"));
            errors.push(FieldError::invalid(
                &Path::new("spec").child("scopes"),
                shown.cloned().unwrap_or(serde_json::Value::Null),
                "field is immutable",
            ));
        }
        errors
    }
}

fn validate_quota(errors: &mut ErrorList, object: &Object) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    for (name, value) in spec.object("hard").into_iter().flatten() {
        let at = path.child("hard").key(name);
        text(errors, &at, name, names::qualified_name(name));
        if !name.contains('/') && !is_standard_quota_resource(name) {
            errors.push(FieldError::invalid(
                &at,
                name.as_str(),
                "must be a standard resource type or fully qualified",
            ));
            errors.push(FieldError::invalid(
                &at,
                name.as_str(),
                "must be a standard resource for quota",
            ));
        }
        resources::quantity_value(errors, &at, name, value);
    }
    let scopes: Vec<&str> = spec.texts("scopes").collect();
    const KNOWN: &[&str] = &[
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    ];
    for scope in &scopes {
        if !KNOWN.contains(scope) {
            errors.push(FieldError::invalid(
                &path.child("scopes"),
                spec.list("scopes").to_vec(),
                "unsupported scope",
            ));
        }
    }
    for pair in [
        ["BestEffort", "NotBestEffort"],
        ["Terminating", "NotTerminating"],
    ] {
        if pair.iter().all(|s| scopes.contains(s)) {
            errors.push(FieldError::invalid(
                &path.child("scopes"),
                spec.list("scopes").to_vec(),
                "conflicting scopes",
            ));
        }
    }
}

fn is_standard_quota_resource(name: &str) -> bool {
    let compute = |name: &str| {
        matches!(name, "cpu" | "memory" | "ephemeral-storage" | "storage")
            || name.starts_with("hugepages-")
    };
    let bare = name
        .strip_prefix("requests.")
        .or_else(|| name.strip_prefix("limits."));
    compute(bare.unwrap_or(name))
        || name.starts_with("count/")
        || matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        )
}
