//! The `scale` subresource: what four kinds have in common, as `autoscaling/v1 Scale`.

use std::sync::LazyLock;

use crate::{fields::Fields, names};
use apimachinery::{
    Object,
    field::{ErrorList, Path},
    gvk::GroupVersionResource,
    meta,
};

/// The Scale of a Deployment, ReplicaSet, StatefulSet or ReplicationController.
pub fn scale_from(object: &Object) -> Object {
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let mut metadata = Object::new();
    for field in [
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "creationTimestamp",
    ] {
        if let Some(value) = object.object("metadata").and_then(|m| m.get(field)) {
            metadata.set(field, value.clone());
        }
    }
    let mut scale_spec = Object::new();
    let replicas = spec.int("replicas").unwrap_or(0);
    if replicas != 0 {
        scale_spec.set("replicas", replicas);
    }
    let mut status = Object::new();
    status.set(
        "replicas",
        object
            .object("status")
            .and_then(|s| s.int("replicas"))
            .unwrap_or(0),
    );
    let selector = match spec.object("selector") {
        Some(selector) if meta::kind(object) == "ReplicationController" => equalities(selector),
        Some(selector) => selector_text(selector),
        None => String::new(),
    };
    if !selector.is_empty() {
        status.set("selector", selector);
    }
    let mut scale = Object::new();
    scale.set("kind", "Scale");
    scale.set("apiVersion", "autoscaling/v1");
    scale.set("metadata", metadata);
    scale.set("spec", scale_spec);
    scale.set("status", status);
    scale
}

/// The columns of a table of Scales.
pub fn columns() -> &'static [crate::facts::Column] {
    static COLUMNS: LazyLock<Vec<crate::facts::Column>> = LazyLock::new(|| {
        const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
        let descriptions = crate::descriptions::Descriptions::read();
        [
            ("Name", "string", META, "name"),
            (
                "Desired",
                "integer",
                "io.k8s.api.autoscaling.v1.ScaleSpec",
                "replicas",
            ),
            (
                "Available",
                "integer",
                "io.k8s.api.autoscaling.v1.ScaleStatus",
                "replicas",
            ),
            ("Age", "string", META, "creationTimestamp"),
        ]
        .map(|(name, column_type, ty, field)| crate::facts::Column {
            name,
            column_type,
            format: "",
            priority: 0,
            description: descriptions.of(ty, field).unwrap_or_default().to_owned(),
        })
        .into()
    });
    &COLUMNS
}

/// Complaints about a Scale that a client sent.
pub fn validate_scale(scale: &Object) -> ErrorList {
    let replicas = scale
        .object("spec")
        .and_then(|s| s.int("replicas"))
        .unwrap_or(0);
    let mut errors = crate::meta::validate_object_meta(
        scale,
        true,
        &|name, _| names::dns1123_subdomain(name),
        &Path::new("metadata"),
    );
    errors.extend(crate::meta::unqualified_finalizers(scale));
    errors.extend(crate::meta::non_negative(
        replicas,
        &Path::new("spec").child("replicas"),
    ));
    errors
}

/// Puts the replicas of a Scale into the object, and its resourceVersion when it bears one.
pub fn apply_scale(object: &mut Object, scale: &Object) {
    let replicas = scale
        .object("spec")
        .and_then(|s| s.int("replicas"))
        .unwrap_or(0);
    object.ensure_object("spec").set("replicas", replicas);
    let version = meta::resource_version(scale).to_owned();
    if !version.is_empty() {
        meta::set_resource_version(object, &version);
    }
}

/// Whether the resource has a `scale` subresource.
pub fn has_scale(gvr: &GroupVersionResource) -> bool {
    crate::kinds::by_resource(gvr)
        .is_some_and(|row| row.subresources.iter().any(|s| s.name == "scale"))
}

fn equalities(labels: &Object) -> String {
    let parts = labels
        .iter()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    parts.collect::<Vec<_>>().join(",")
}

/// A `LabelSelector` as text: `a=b,c in (d,e),!f`, sorted by key.
pub fn selector_text(selector: &Object) -> String {
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in selector.object("matchLabels").into_iter().flatten() {
        parts.push((
            key.clone(),
            format!("{key}={}", value.as_str().unwrap_or_default()),
        ));
    }
    for (_, expression) in selector.objects("matchExpressions") {
        let key = expression.text("key");
        let mut values: Vec<&str> = expression.texts("values").collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match expression.text("operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => "<error>".to_owned(),
        };
        parts.push((key.to_owned(), text));
    }
    // Of one key, the labels come before the expressions, and those in their order.
    parts.sort_by(|(a, _), (b, _)| a.cmp(b));
    parts
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scales_a_deployment() {
        let mut deployment = json!({
            "kind": "Deployment", "metadata": {"name": "d", "namespace": "n", "uid": "u"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"b": "c"},
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}},
            "status": {"replicas": 1},
        })
        .as_object()
        .cloned()
        .unwrap();
        let mut scale = scale_from(&deployment);
        assert_eq!(scale["spec"], json!({"replicas": 2}));
        assert_eq!(
            scale["status"],
            json!({"replicas": 1, "selector": "a in (x,y),b=c"})
        );
        scale.insert("spec".to_owned(), json!({"replicas": 5}));
        apply_scale(&mut deployment, &scale);
        assert_eq!(deployment["spec"]["replicas"], 5);
    }

    #[test]
    fn requirements_of_one_key_stay_in_order() {
        let selector = json!({"matchLabels": {"b": "c"}, "matchExpressions": [
            {"key": "b", "operator": "In", "values": ["d", "c"]}, {"key": "a", "operator": "Exists"},
        ]});
        assert_eq!(
            selector_text(selector.as_object().unwrap()),
            "a,b=c,b in (c,d)"
        );
    }
}
