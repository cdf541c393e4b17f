//! `admissionregistration.k8s.io/v1` ValidatingWebhookConfiguration: webhooks that refuse. The defaults of all webhooks stand here.

use apimachinery::{
    Object,
    field::ErrorList,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::admissionregistration::webhook::{self, Sort},
    lifecycle,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new(
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
    ),
    gvk: GroupVersionKind::new(
        "admissionregistration.k8s.io",
        "v1",
        "ValidatingWebhookConfiguration",
    ),
    singular: "validatingwebhookconfiguration",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("validatingwebhookconfigurations")),
    strategy: &ValidatingWebhookConfigurationStrategy,
};

#[derive(Debug)]
struct ValidatingWebhookConfigurationStrategy;

impl Strategy for ValidatingWebhookConfigurationStrategy {
    fn demands_qualified_finalizers(&self) -> bool {
        false
    }
    fn default(&self, object: &mut Object) {
        object.each_object("webhooks", default_webhook);
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
        webhook::configuration(Sort::Validating, object, None)
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        webhook::configuration(Sort::Validating, new, Some(old))
    }
}

/// What both sorts of webhook share.
pub fn default_webhook(webhook: &mut Object) {
    webhook.set_default("failurePolicy", "Fail");
    webhook.set_default("matchPolicy", "Equivalent");
    webhook.ensure_object("namespaceSelector");
    webhook.ensure_object("objectSelector");
    webhook.set_default("timeoutSeconds", 10);
    webhook.each_object("rules", default_rule);
    if let Some(service) = webhook.ensure_object("clientConfig").object_mut("service") {
        service.set_default("port", 443);
    }
}

/// A rule matches resources of any scope, unless it says otherwise.
pub fn default_rule(rule: &mut Object) {
    rule.set_default("scope", "*");
}
