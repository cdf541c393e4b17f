//! `rbac.authorization.k8s.io/v1` ClusterRole: what may be done everywhere, and outside namespaces.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::rbac::role,
    names,
    validate::selectors,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("rbac.authorization.k8s.io", "v1", "clusterroles"),
    gvk: GroupVersionKind::new("rbac.authorization.k8s.io", "v1", "ClusterRole"),
    singular: "clusterrole",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("clusterroles")),
    strategy: &ClusterRoleStrategy,
};

#[derive(Debug)]
struct ClusterRoleStrategy;

impl Strategy for ClusterRoleStrategy {
    fn default(&self, object: &mut Object) {
        object.set_default("rules", Value::Null);
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            names::path_segment_prefix(name)
        } else {
            names::path_segment_name(name)
        }
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        role::rules(&mut errors, object, false);
        if let Some(aggregation) = object.object("aggregationRule") {
            validate_aggregation(&mut errors, aggregation);
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        crate::meta::validate_renewed(new, old, &RESOURCE)
    }
}

/// Which other ClusterRoles this one gathers.
fn validate_aggregation(errors: &mut ErrorList, rule: &Object) {
    let path = Path::new("aggregationRule").child("clusterRoleSelectors");
    if rule.list("clusterRoleSelectors").is_empty() {
        errors.push(FieldError::required(
            &path,
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        ));
    }
    for (index, selector) in rule.objects("clusterRoleSelectors") {
        let at = path.index(index);
        selectors::label_selector(errors, &at, selector);
        if !selectors::can_select(selector) {
            errors.push(FieldError::invalid(
                &at,
                Value::Null,
                "invalid label selector.",
            ));
        }
    }
}
