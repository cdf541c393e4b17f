//! The RBAC bootstrap policy: the roles and bindings that every cluster has.

mod binding;
mod bindings;
mod cluster_roles;
mod controller_roles;
mod namespaced_roles;
mod role;

use apimachinery::Object;
use serde_json::{Value, json};

use crate::authz::rbac::PolicyRule;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Cluster roles, as they should be stored.
pub fn cluster_roles() -> impl Iterator<Item = Object> {
    cluster_roles::ROLES
        .iter()
        .chain(controller_roles::ROLES)
        .map(|role| role.to_object())
}

/// Cluster role bindings.
pub fn cluster_role_bindings() -> impl Iterator<Item = Object> {
    let listed = bindings::BINDINGS
        .iter()
        .filter(|binding| binding.namespace.is_empty());
    let controllers = controller_roles::ROLES
        .iter()
        .map(|role| binding::of_controller(role.name));
    listed.map(|binding| binding.to_object()).chain(controllers)
}

/// Roles of system namespaces.
pub fn roles() -> impl Iterator<Item = Object> {
    namespaced_roles::ROLES.iter().map(|role| role.to_object())
}

/// Role bindings of system namespaces.
pub fn role_bindings() -> impl Iterator<Item = Object> {
    let listed = bindings::BINDINGS
        .iter()
        .filter(|binding| !binding.namespace.is_empty());
    listed.map(|binding| binding.to_object())
}

/// What every node may do: the Node authorizer's rules are those of `system:node`.
pub fn node_rules() -> Vec<PolicyRule> {
    let node = cluster_roles::ROLES
        .iter()
        .find(|role| role.name == "system:node");
    node.map(|role| role.policy_rules()).unwrap_or_default()
}

/// Of this kind and name, labelled and annotated as bootstrap policy.
fn object(kind: &str, namespace: &str, name: &str) -> Object {
    let mut metadata = json!({
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    let mut object = Object::new();
    object.insert("apiVersion".to_owned(), Value::from(format!("{GROUP}/v1")));
    object.insert("kind".to_owned(), kind.into());
    object.insert("metadata".to_owned(), metadata);
    object
}
