//! `v1` LimitRange: bounds and defaults for the resources of one namespace's pods and claims.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, quantity},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::core::pod_spec::resources,
    names,
    validate::text,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "limitranges"),
    gvk: GroupVersionKind::new("", "v1", "LimitRange"),
    singular: "limitrange",
    scope: Scope::Namespaced,
    short_names: &["limits"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("limitranges")),
    strategy: &LimitRangeStrategy,
};

#[derive(Debug)]
struct LimitRangeStrategy;

impl Strategy for LimitRangeStrategy {
    fn default(&self, object: &mut Object) {
        object
            .ensure_object("spec")
            .each_object("limits", default_item);
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_limits(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}

/// For containers, a maximum is the default limit, the default limit the default request, and a minimum the default request too.
fn default_item(item: &mut Object) {
    if item.text("type") != "Container" {
        return;
    }
    fill(item, "max", "default");
    fill(item, "default", "defaultRequest");
    fill(item, "min", "defaultRequest");
}

fn fill(item: &mut Object, from: &str, to: &str) {
    let Some(source) = item.object(from).cloned() else {
        return;
    };
    let target = item.ensure_object(to);
    for (name, value) in source {
        target.entry(name).or_insert(value);
    }
}

fn validate_limits(errors: &mut ErrorList, object: &Object) {
    const PARTS: &[&str] = &[
        "max",
        "min",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
    ];
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in spec.objects("limits") {
        let at = Path::new("spec").child("limits").index(index);
        let kind = item.text("type");
        text(errors, &at.child("type"), kind, names::qualified_name(kind));
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        seen.push(kind);
        for part in PARTS {
            for (name, value) in item.object(part).into_iter().flatten() {
                let at = at.child(part).key(name);
                if kind == "Container" || kind == "Pod" {
                    resources::container_resource_name(errors, &at, name);
                }
                if *part != "maxLimitRequestRatio" {
                    resources::quantity_value(errors, &at, name, value);
                } else if quantity(value).is_some_and(|q| q.milli_value() < 1000) {
                    let shown = resources::shown(value);
                    errors.push(FieldError::invalid(
                        &at,
                        shown.as_str(),
                        format!("ratio {shown} is less than 1"),
                    ));
                }
            }
        }
        if kind == "PersistentVolumeClaim" {
            let has = |part| item.object(part).is_some_and(|p| p.has("storage"));
            if !has("min") && !has("max") {
                errors.push(FieldError::required(
                    &at.child("limits"),
                    "either minimum or maximum storage value is required, but neither was provided",
                ));
            }
        }
        if kind == "Pod" {
            for part in ["default", "defaultRequest"] {
                if item.object(part).is_some_and(|p| !p.is_empty()) {
                    errors.push(FieldError::forbidden(
                        &at.child(part),
                        "may not be specified when `type` is 'Pod'",
                    ));
                }
            }
        }
        bounds(errors, &at, item);
    }
}

/// min ≤ defaultRequest ≤ default ≤ max, for each resource.
fn bounds(errors: &mut ErrorList, at: &Path, item: &Object) {
    let of = |part: &str, name: &str| item.object(part).and_then(|p| p.get(name)).cloned();
    for (low, high) in [
        ("min", "max"),
        ("min", "defaultRequest"),
        ("min", "default"),
        ("defaultRequest", "max"),
        ("defaultRequest", "default"),
        ("default", "max"),
    ] {
        for name in item.object(low).into_iter().flat_map(|p| p.keys()) {
            let (Some(a), Some(b)) = (of(low, name), of(high, name)) else {
                continue;
            };
            if let (Some(x), Some(y)) = (quantity(&a), quantity(&b))
                && x > y
            {
                let words = |part: &str| {
                    match part {
                        "defaultRequest" => "default request",
                        "default" => "default",
                        "min" => "min",
                        _ => "max",
                    }
                    .to_owned()
                };
                errors.push(FieldError::invalid(
                    &at.child(low).key(name),
                    resources::shown(&a),
                    format!(
                        "{} value {} is greater than {} value {}",
                        words(low),
                        resources::shown(&a),
                        words(high),
                        resources::shown(&b)
                    ),
                ));
            }
        }
    }
}
