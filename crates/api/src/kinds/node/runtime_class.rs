//! `node.k8s.io/v1` RuntimeClass: which runtime runs a pod.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
    validate::text,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("node.k8s.io", "v1", "runtimeclasses"),
    gvk: GroupVersionKind::new("node.k8s.io", "v1", "RuntimeClass"),
    singular: "runtimeclass",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("runtimeclasses")),
    strategy: &RuntimeClassStrategy,
};

#[derive(Debug)]
struct RuntimeClassStrategy;

impl Strategy for RuntimeClassStrategy {
    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let handler = object.text("handler");
        text(
            &mut errors,
            &Path::new("handler"),
            handler,
            names::dns1123_label(handler),
        );
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        crate::meta::validate_immutable_field(new, old, "handler", &Path::default())
    }
}
