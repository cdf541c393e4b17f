//! `node.k8s.io/v1` RuntimeClass: which runtime runs a pod.

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::pod_spec::{resources, scheduling},
    names,
    validate::{required_text, shown_as},
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
    fn allow_create_on_update(&self) -> bool {
        true
    }
    fn allow_unconditional_update(&self) -> bool {
        false
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let handler = object.text("handler");
        required_text(
            &mut errors,
            &Path::new("handler"),
            handler,
            names::dns1123_label,
        );
        if let Some(fixed) = object.object("overhead").and_then(|o| o.object("podFixed")) {
            resources::overhead(&mut errors, &Path::new("overhead"), fixed);
        }
        if let Some(placement) = object.object("scheduling") {
            let path = Path::new("scheduling");
            errors.extend(crate::meta::validate_labels(
                placement.object("nodeSelector"),
                &path.child("nodeSelector"),
            ));
            let at = path.child("tolerations");
            scheduling::tolerations(&mut errors, &at, placement);
            let tolerations = placement.list("tolerations");
            for (index, toleration) in tolerations.iter().enumerate() {
                if tolerations[..index].iter().any(|t| is_same(t, toleration)) {
                    errors.push(shown_as(
                        ErrorType::Duplicate,
                        &at.index(index),
                        &internal::shown(TOLERATION, Some(toleration)),
                        "",
                    ));
                }
            }
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        // The rules of new metadata are asked again, but for finalizers that are nobody's.
        let mut errors = crate::meta::validate_object_meta(
            new,
            false,
            &|name, prefix| self.validate_name(name, prefix),
            &Path::new("metadata"),
        );
        errors.extend(self.validate(new));
        errors.extend(crate::meta::validate_object_meta_update(
            new,
            old,
            &Path::new("metadata"),
        ));
        errors.extend(crate::meta::immutable_field(
            "io.k8s.api.node.v1.RuntimeClass",
            new,
            old,
            "handler",
            &Path::default(),
        ));
        errors
    }
}

const TOLERATION: &str = "io.k8s.api.core.v1.Toleration";

/// However long they last, tolerations of the same taint are the same.
fn is_same(a: &Value, b: &Value) -> bool {
    let fields = ["key", "operator", "value", "effect"];
    let (a, b) = (a.as_object(), b.as_object());
    a.zip(b)
        .is_some_and(|(a, b)| fields.iter().all(|field| a.text(field) == b.text(field)))
}
