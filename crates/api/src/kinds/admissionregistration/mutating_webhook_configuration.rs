//! `admissionregistration.k8s.io/v1` MutatingWebhookConfiguration: webhooks that change what comes in.

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::admissionregistration::{
        validating_webhook_configuration::default_webhook,
        webhook::{self, Sort},
    },
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
    ),
    gvk: GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "MutatingWebhookConfiguration",
    ),
    singular: "mutatingwebhookconfiguration",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("mutatingwebhookconfigurations")),
    strategy: &MutatingWebhookConfigurationStrategy,
};

#[derive(Debug)]
struct MutatingWebhookConfigurationStrategy;

impl Strategy for MutatingWebhookConfigurationStrategy {
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
    fn default(&self, object: &mut Object) {
        object.each_object("webhooks", |webhook| {
            default_webhook(webhook);
            webhook.set_default("reinvocationPolicy", "Never");
        });
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation_by_reflection(new, old, &["webhooks"]);
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        webhook::configuration(Sort::Mutating, object, None)
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        webhook::configuration(Sort::Mutating, new, Some(old))
    }
}
