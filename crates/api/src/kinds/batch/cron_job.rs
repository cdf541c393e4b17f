//! `batch/v1` CronJob.

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
    gvr: GroupVersionResource::new("batch", "v1", "cronjobs"),
    gvk: GroupVersionKind::new("batch", "v1", "CronJob"),
    singular: "cronjob",
    scope: Scope::Namespaced,
    short_names: &["cj"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "batch", "v1", "CronJob",
    ))],
    storage: Some(Storage::plain("cronjobs")),
    strategy: &CronJobStrategy,
};

#[derive(Debug)]
struct CronJobStrategy;

impl Strategy for CronJobStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        spec.set_default_zero("concurrencyPolicy", "Allow");
        spec.set_default("suspend", false);
        spec.set_default("successfulJobsHistoryLimit", 3);
        spec.set_default("failedJobsHistoryLimit", 1);
        let template = spec.ensure_object("jobTemplate");
        template.ensure_object("metadata");
        defaults::template(template.ensure_object("spec"), "template");
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
}
