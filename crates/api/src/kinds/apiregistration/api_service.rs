//! `apiregistration.k8s.io/v1` APIService: a group and version that another server serves.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle, names,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("apiregistration.k8s.io", "v1", "apiservices"),
    gvk: GroupVersionKind::new("apiregistration.k8s.io", "v1", "APIService"),
    singular: "apiservice",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &["api-extensions"],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "apiregistration.k8s.io",
        "v1",
        "APIService",
    ))],
    storage: Some(Storage::plain("apiregistration.k8s.io/apiservices")),
    strategy: &ApiServiceStrategy,
};

#[derive(Debug)]
struct ApiServiceStrategy;

impl Strategy for ApiServiceStrategy {
    fn default(&self, object: &mut Object) {
        if let Some(service) = object.ensure_object("spec").object_mut("service") {
            service.set_default("port", 443);
        }
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
        if !object.object("spec").is_some_and(|s| s.has("service")) {
            // Served by this server itself, so there is nothing to probe.
            let now = meta::creation_timestamp(object).to_owned();
            object.ensure_object("status").set(
                "conditions",
                json!([{
                    "type": "Available", "status": "True", "lastTransitionTime": now,
                    "reason": "Local", "message": "Local APIServices are always available",
                }]),
            );
        }
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        if prefix {
            names::path_segment_prefix(name)
        } else {
            names::path_segment_name(name)
        }
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
}
