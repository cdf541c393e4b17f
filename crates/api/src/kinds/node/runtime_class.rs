//! `node.k8s.io/v1` RuntimeClass: which runtime runs a pod.

use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::pod_spec::{resources, scheduling},
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
        if let Some(fixed) = object.object("overhead").and_then(|o| o.get("podFixed")) {
            // Judged as if a container were limited to it.
            let mut limits = Object::new();
            limits.set("limits", fixed.clone());
            resources::requirements(&mut errors, &Path::new("overhead"), &limits);
        }
        if let Some(placement) = object.object("scheduling") {
            let path = Path::new("scheduling");
            errors.extend(crate::meta::validate_labels(
                placement.object("nodeSelector"),
                &path.child("nodeSelector"),
            ));
            scheduling::tolerations(&mut errors, &path.child("tolerations"), placement);
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        crate::meta::validate_immutable_field(new, old, "handler", &Path::default())
    }
}
