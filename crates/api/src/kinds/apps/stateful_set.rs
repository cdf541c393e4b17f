//! `apps/v1` StatefulSet.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::persistent_volume_claim,
    kinds::core::pod_spec::defaults,
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apps", "v1", "statefulsets"),
    gvk: GroupVersionKind::new("apps", "v1", "StatefulSet"),
    singular: "statefulset",
    scope: Scope::Namespaced,
    short_names: &["sts"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource::scale(),
        Subresource::status(GroupVersionKind::new("apps", "v1", "StatefulSet")),
    ],
    storage: Some(Storage::plain("statefulsets")),
    strategy: &StatefulSetStrategy,
};

#[derive(Debug)]
struct StatefulSetStrategy;

impl Strategy for StatefulSetStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        defaults::template(spec, "template");
        spec.set_default_zero("podManagementPolicy", "OrderedReady");
        spec.set_default("serviceName", "");
        let strategy = spec.ensure_object("updateStrategy");
        strategy.set_default_zero("type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate" {
            strategy
                .ensure_object("rollingUpdate")
                .set_default("partition", 0);
        }
        let retention = spec.ensure_object("persistentVolumeClaimRetentionPolicy");
        retention.set_default_zero("whenDeleted", "Retain");
        retention.set_default_zero("whenScaled", "Retain");
        spec.set_default("replicas", 1);
        spec.set_default("revisionHistoryLimit", 10);
        spec.each_object("volumeClaimTemplates", |claim| {
            claim.set_default_zero("apiVersion", "v1");
            claim.set_default_zero("kind", "PersistentVolumeClaim");
            persistent_volume_claim::default(claim);
        });
        lifecycle::zeroes(
            object.ensure_object("status"),
            &["replicas", "availableReplicas"],
        );
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        lifecycle::zeroes(
            object.ensure_object("status"),
            &["replicas", "availableReplicas"],
        );
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        lifecycle::bump_generation(new, old, &["spec"]);
    }
}
