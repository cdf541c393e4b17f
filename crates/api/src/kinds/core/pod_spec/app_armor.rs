//! AppArmor profiles: the annotation of old, and the field that took its place (`applyAppArmorVersionSkew`).

use apimachinery::Object;
use serde_json::{Value, json};

use crate::fields::{Fields, same};

/// Before the name of a container.
const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Takes the profiles that annotations name into the fields of containers that have none.
pub fn fields_from_annotations(pod: &mut Object) {
    let annotations = pod
        .object("metadata")
        .and_then(|m| m.object("annotations"))
        .cloned();
    let (Some(annotations), Some(spec)) = (annotations, pod.object_mut("spec")) else {
        return;
    };
    if spec
        .object("os")
        .is_some_and(|os| os.text("name") == "windows")
    {
        return;
    }
    let of_pod = spec
        .object("securityContext")
        .and_then(|c| c.get("appArmorProfile"))
        .cloned();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        spec.each_object(list, |container| {
            let annotation = annotations.text_opt(&format!("{PREFIX}{}", container.text("name")));
            let Some(profile) = annotation.and_then(profile) else {
                return;
            };
            let has = container
                .object("securityContext")
                .is_some_and(|c| c.has("appArmorProfile"));
            if !has && !same(Some(&profile), of_pod.as_ref()) {
                container
                    .ensure_object("securityContext")
                    .set("appArmorProfile", profile);
            }
        });
    }
}

fn profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => annotation
            .strip_prefix("localhost/")
            .filter(|name| !name.is_empty() && name.trim() == *name)
            .map(|name| json!({"type": "Localhost", "localhostProfile": name})),
    }
}
