//! AppArmor profiles: the annotation of old, and the field that took its place (`applyAppArmorVersionSkew`).

use apimachinery::Object;
use serde_json::{Value, json};

use super::annotations::APP_ARMOR;
use crate::fields::{Fields, same};

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
            let annotation =
                annotations.text_opt(&format!("{APP_ARMOR}{}", container.text("name")));
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

/// What is said of annotations whose profiles became those of the containers, or are none. (A client that sent the same field too is
/// told as well: what it sent is no longer known here.)
pub fn warnings(pod: &Object) -> Vec<String> {
    let empty = Object::new();
    let spec = pod.object("spec").unwrap_or(&empty);
    if spec
        .object("os")
        .is_some_and(|os| os.text("name") == "windows")
    {
        return Vec::new();
    }
    let annotations = pod.object("metadata").and_then(|m| m.object("annotations"));
    let profile_of = |holder: &Object| {
        let context = holder.object("securityContext")?;
        context.get("appArmorProfile").cloned()
    };
    let of_pod = profile_of(spec);
    let mut warnings = Vec::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (_, container) in spec.objects(list) {
            let key = format!(
                "{}{}",
                super::annotations::APP_ARMOR,
                container.text("name")
            );
            let Some(annotation) = annotations.and_then(|all| all.text_opt(&key)) else {
                continue;
            };
            let meant = profile(annotation);
            if meant.is_none() || meant == profile_of(container) && meant != of_pod {
                warnings.push(format!(
                    "metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
                ));
            }
        }
    }
    warnings
}

/// The field that an annotation stands for.
pub(super) fn profile(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(json!({"type": "Unconfined"})),
        "runtime/default" => Some(json!({"type": "RuntimeDefault"})),
        _ => annotation
            .strip_prefix("localhost/")
            .filter(|name| !name.is_empty() && name.trim() == *name)
            .map(|name| json!({"type": "Localhost", "localhostProfile": name})),
    }
}
