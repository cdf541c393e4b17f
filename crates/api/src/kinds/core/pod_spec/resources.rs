//! Rules of resource requests and limits.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use crate::{
    fields::{Fields, quantity},
    names,
    validate::text,
};

/// A quantity as it stands in messages.
pub(crate) fn shown(value: &Value) -> String {
    quantity(value).map_or_else(|| value.to_string(), |q| q.to_string())
}

/// Resources that are the cluster's own, as opposed to those that a device plugin offers.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

fn is_standard_container_resource(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

/// The name of a resource that a container may ask for.
pub(crate) fn container_resource_name(errors: &mut ErrorList, path: &Path, name: &str) {
    text(errors, path, name, names::qualified_name(name));
    if !name.contains('/') && !is_standard_container_resource(name) {
        errors.push(FieldError::invalid(
            path,
            name,
            "must be a standard resource for containers",
        ));
    } else if name.contains('/') && !is_native(name) && name.starts_with("requests.") {
        errors.push(FieldError::invalid(
            path,
            name,
            "doesn't follow extended resource name standard",
        ));
    }
}

/// No quantity is negative, and what is counted comes in whole numbers.
pub(crate) fn quantity_value(errors: &mut ErrorList, path: &Path, name: &str, value: &Value) {
    let Some(amount) = quantity(value) else {
        return;
    };
    if amount.sign() < 0 {
        errors.push(FieldError::invalid(
            path,
            shown(value),
            "must be greater than or equal to 0",
        ));
    }
    let counted = matches!(
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
    ) || !is_native(name);
    if counted && amount.milli_value() % 1000 != 0 {
        errors.push(FieldError::invalid(
            path,
            shown(value),
            "must be an integer",
        ));
    }
}

/// `resources` of a container or pod.
pub(crate) fn requirements(errors: &mut ErrorList, path: &Path, requirements: &Object) {
    let empty = Object::new();
    let limits = requirements.object("limits").unwrap_or(&empty);
    let requests = requirements.object("requests").unwrap_or(&empty);
    for (name, value) in limits {
        let at = path.child("limits").key(name);
        container_resource_name(errors, &at, name);
        quantity_value(errors, &at, name, value);
    }
    for (name, value) in requests {
        let at = path.child("requests").key(name);
        container_resource_name(errors, &at, name);
        quantity_value(errors, &at, name, value);
        let overcommit = is_native(name) && !name.starts_with("hugepages-");
        match (limits.get(name).and_then(quantity), quantity(value)) {
            (Some(limit), Some(request)) if !overcommit && request != limit => {
                errors.push(FieldError::invalid(
                    &path.child("requests"),
                    shown(value),
                    format!("must be equal to {name} limit of {limit}"),
                ));
            }
            (Some(limit), Some(request)) if request > limit => errors.push(FieldError::invalid(
                &path.child("requests"),
                shown(value),
                format!("must be less than or equal to {name} limit of {limit}"),
            )),
            (None, _) if !overcommit => errors.push(FieldError::required(
                &path.child("limits"),
                "Limit must be set for non overcommitable resources",
            )),
            _ => {}
        }
    }
}
