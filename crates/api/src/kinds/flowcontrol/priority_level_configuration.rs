//! `flowcontrol.apiserver.k8s.io/v1` PriorityLevelConfiguration.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "prioritylevelconfigurations",
    ),
    gvk: GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
    ),
    singular: "prioritylevelconfiguration",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "PriorityLevelConfiguration",
    ))],
    storage: Some(Storage::plain("prioritylevelconfigurations")),
    strategy: &PriorityLevelConfigurationStrategy,
};

#[derive(Debug)]
struct PriorityLevelConfigurationStrategy;

impl Strategy for PriorityLevelConfigurationStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        match spec.text("type") {
            "Limited" => {
                let limited = spec.ensure_object("limited");
                limited.set_default("nominalConcurrencyShares", 30);
                limited.set_default("lendablePercent", 0);
                let response = limited.ensure_object("limitResponse");
                response.set_default_zero("type", "Reject");
                if let Some(queuing) = response.object_mut("queuing") {
                    queuing.set_default_zero("queues", 64);
                    queuing.set_default_zero("handSize", 8);
                    queuing.set_default_zero("queueLengthLimit", 50);
                }
            }
            "Exempt" => {
                let exempt = spec.ensure_object("exempt");
                exempt.set_default("nominalConcurrencyShares", 0);
                exempt.set_default("lendablePercent", 0);
            }
            _ => {}
        }
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
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
