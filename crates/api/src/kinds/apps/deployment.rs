//! `apps/v1` Deployment.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::defaults,
    lifecycle,
};

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

impl Strategy for DeploymentStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        spec.set_default("replicas", 1);
        let strategy = spec.ensure_object("strategy");
        strategy.set_default_zero("type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate" {
            let rolling = strategy.ensure_object("rollingUpdate");
            rolling.set_default("maxUnavailable", "25%");
            rolling.set_default("maxSurge", "25%");
        }
        spec.set_default("revisionHistoryLimit", 10);
        spec.set_default("progressDeadlineSeconds", 600);
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
        // The revision and rollback annotations are part of what a Deployment asks for.
        if meta::generation(new) == meta::generation(old)
            && meta::annotations(new) != meta::annotations(old)
        {
            meta::set_generation(new, meta::generation(old) + 1);
        }
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep_metadata(new, old, &["labels"]);
    }
}
