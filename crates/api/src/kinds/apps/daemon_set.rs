//! `apps/v1` DaemonSet.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::defaults,
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "daemonsets"),
    gvk: GroupVersionKind::new("apps", "v1", "DaemonSet"),
    singular: "daemonset",
    scope: Scope::Namespaced,
    short_names: &["ds"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apps",
        "v1",
        "DaemonSet",
    ))],
    storage: Some(Storage::plain("daemonsets")),
    strategy: &DaemonSetStrategy,
};

#[derive(Debug)]
struct DaemonSetStrategy;

impl Strategy for DaemonSetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        let strategy = spec.ensure_object("updateStrategy");
        strategy.set_default_zero("type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate" {
            let rolling = strategy.ensure_object("rollingUpdate");
            rolling.set_default("maxUnavailable", 1);
            rolling.set_default("maxSurge", 0);
        }
        spec.set_default("revisionHistoryLimit", 10);
        lifecycle::zeroes(
            object.ensure_object("status"),
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
            ],
        );
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        lifecycle::zeroes(
            object.ensure_object("status"),
            &[
                "currentNumberScheduled",
                "numberMisscheduled",
                "desiredNumberScheduled",
                "numberReady",
            ],
        );
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
}
