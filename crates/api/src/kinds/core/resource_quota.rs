//! `v1` ResourceQuota: the sum that a namespace's objects may take.

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
    kinds::core::pod_spec::resources,
    lifecycle,
    validate::invalid_shown,
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
            let empty = Object::new();
            let spec = new.object("spec").unwrap_or(&empty);
            let at = Path::new("spec").child("scopes");
            let shown = shown_list(spec, "scopes");
            errors.push(FieldError::invalid(&at, shown, "field is immutable"));
        }
        errors
    }

    fn validate_status_update(&self, new: &Object, _old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let status = new.object("status").unwrap_or(&empty);
        for part in ["hard", "used"] {
            amounts(
                &mut errors,
                &Path::new("status").child(part),
                status.object(part),
            );
        }
        errors
    }
}

/// A list as messages show it: one that is not there is null.
fn shown_list(owner: &Object, field: &str) -> Value {
    owner.value(field).cloned().unwrap_or(Value::Null)
}

fn amounts(errors: &mut ErrorList, path: &Path, amounts: Option<&Object>) {
    for (name, value) in amounts.into_iter().flatten() {
        let at = path.key(name);
        resources::resource_name(errors, &at, name);
        if !name.contains('/') && !resources::is_standard_quota_resource(name) {
            let detail = "must be a standard resource for quota";
            errors.push(FieldError::invalid(&at, name.as_str(), detail));
        }
        resources::quantity_value(errors, &at, name, value);
    }
}

/// Scopes that exclude each other.
const CONFLICTS: [[&str; 2]; 2] = [
    ["BestEffort", "NotBestEffort"],
    ["Terminating", "NotTerminating"],
];

fn validate_quota(errors: &mut ErrorList, object: &Object) {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let hard = spec.object("hard");
    amounts(errors, &path.child("hard"), hard);
    let hard: Vec<&str> = hard
        .into_iter()
        .flat_map(|hard| hard.keys())
        .map(String::as_str)
        .collect();
    let scopes: Vec<&str> = spec.texts("scopes").collect();
    let at = path.child("scopes");
    let refuse = |errors: &mut ErrorList, detail: &str| {
        errors.push(FieldError::invalid(&at, shown_list(spec, "scopes"), detail));
    };
    for scope in &scopes {
        if !is_scope(scope) {
            refuse(errors, "unsupported scope");
        }
        for _ in hard.iter().filter(|name| !is_counted_in(scope, name)) {
            refuse(errors, "unsupported scope applied to resource");
        }
    }
    for pair in CONFLICTS {
        if pair.iter().all(|s| scopes.contains(s)) {
            refuse(errors, "conflicting scopes");
        }
    }
    if let Some(selector) = spec.object("scopeSelector") {
        scope_selector(errors, &path.child("scopeSelector"), selector, &hard);
        let named: Vec<&str> = selector
            .objects("matchExpressions")
            .map(|(_, expression)| expression.text("scopeName"))
            .collect();
        for pair in CONFLICTS {
            if pair.iter().all(|s| named.contains(s)) {
                errors.push(FieldError::invalid(
                    &path.child("scopeSelector").child("matchExpressions"),
                    shown_list(spec, "scopes"),
                    "conflicting scopes",
                ));
            }
        }
    }
}

/// The expressions of a selector of scopes; upstream names the list, not the item.
fn scope_selector(errors: &mut ErrorList, path: &Path, selector: &Object, hard: &[&str]) {
    const ADVICE: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
    let at = path.child("matchExpressions");
    for (_, expression) in selector.objects("matchExpressions") {
        let scope = expression.text("scopeName");
        if !is_scope(scope) {
            let at = at.child("scopeName");
            errors.push(FieldError::invalid(&at, scope, "unsupported scope"));
        }
        for _ in hard.iter().filter(|name| !is_counted_in(scope, name)) {
            let selector = Value::Object(selector.clone());
            let ty = "io.k8s.api.core.v1.ScopeSelector";
            errors.push(invalid_shown(
                &at,
                &internal::shown(ty, Some(&selector)),
                "unsupported scope applied to resource",
            ));
        }
        let operator = expression.text("operator");
        let plain = matches!(
            scope,
            "BestEffort"
                | "NotBestEffort"
                | "Terminating"
                | "NotTerminating"
                | "CrossNamespacePodAffinity"
        );
        if plain && operator != "Exists" {
            let at = at.child("operator");
            errors.push(FieldError::invalid(&at, operator, ADVICE));
        }
        let some = !expression.list("values").is_empty();
        match operator {
            "In" | "NotIn" if !some => errors.push(FieldError::required(
                &at.child("values"),
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
            "Exists" | "DoesNotExist" if some => errors.push(FieldError::invalid(
                &at.child("values"),
                shown_list(expression, "values"),
                "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                &at.child("operator"),
                other,
                "not a valid selector operator",
            )),
        }
    }
}

fn is_scope(scope: &str) -> bool {
    matches!(
        scope,
        "Terminating"
            | "NotTerminating"
            | "BestEffort"
            | "NotBestEffort"
            | "PriorityClass"
            | "CrossNamespacePodAffinity"
            | "VolumeAttributesClass"
    )
}

/// Whether a scope narrows down what a resource is counted in; of resources that quotas do not know, nobody can say.
fn is_counted_in(scope: &str, resource: &str) -> bool {
    const COMPUTE: &[&str] = &[
        "pods",
        "cpu",
        "memory",
        "limits.cpu",
        "limits.memory",
        "requests.cpu",
        "requests.memory",
    ];
    if !resources::is_standard_quota_resource(resource) {
        return true;
    }
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => COMPUTE.contains(&resource),
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => {
            matches!(resource, "persistentvolumeclaims" | "requests.storage")
        }
        _ => true,
    }
}
