//! `apps/v1` Deployment.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "deployments"),
    gvk: GroupVersionKind::new("apps", "v1", "Deployment"),
    singular: "deployment",
    scope: Scope::Namespaced,
    short_names: &["deploy"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "Deployment")),
    ],
    storage: Some(Storage::plain("deployments")),
    strategy: &DeploymentStrategy,
};

#[derive(Debug)]
struct DeploymentStrategy;

impl Strategy for DeploymentStrategy {}
