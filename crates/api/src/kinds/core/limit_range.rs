//! `v1` LimitRange: bounds and defaults for the resources of one namespace's pods and claims.

use std::collections::BTreeSet;

use apimachinery::{
    Object, Quantity,
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
    fn names_the_nameless(&self) -> bool {
        true
    }
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
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        errors.extend(self.validate(new));
        errors
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
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, item) in spec.objects("limits") {
        let at = Path::new("spec").child("limits").index(index);
        let kind = item.text("type");
        limit_type(errors, &at.child("type"), kind);
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        // Resources that one of the parts names.
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for part in ["max", "min"] {
            resource_names(errors, &at.child(part), kind, item.object(part), &mut names);
        }
        for part in ["default", "defaultRequest"] {
            let amounts = item.object(part);
            if kind != "Pod" {
                resource_names(errors, &at.child(part), kind, amounts, &mut names);
            } else if amounts.is_some_and(|amounts| !amounts.is_empty()) {
                errors.push(FieldError::forbidden(
                    &at.child(part),
                    "may not be specified when `type` is 'Pod'",
                ));
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
        let part = "maxLimitRequestRatio";
        resource_names(errors, &at.child(part), kind, item.object(part), &mut names);
        for name in names {
            let bounds = Bounds::of(item, kind, name);
            bounds.validate(errors, &at, name);
        }
    }
}

fn limit_type(errors: &mut ErrorList, path: &Path, kind: &str) {
    let complaints = names::qualified_name(kind);
    let known = kind.contains('/') || matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
    if !complaints.is_empty() {
        text(errors, path, kind, complaints);
    } else if !known {
        let detail = "must be a standard limit type or fully qualified";
        errors.push(FieldError::invalid(path, kind, detail));
    }
}

fn resource_names<'a>(
    errors: &mut ErrorList,
    path: &Path,
    kind: &str,
    amounts: Option<&'a Object>,
    names: &mut BTreeSet<&'a str>,
) {
    for name in amounts.into_iter().flat_map(Object::keys) {
        let at = path.key(name);
        if matches!(kind, "Container" | "Pod") {
            resources::container_resource_name(errors, &at, name);
        } else {
            resources::resource_name(errors, &at, name);
        }
        names.insert(name);
    }
}

/// What a limit says of one resource.
struct Bounds {
    min: Option<Quantity>,
    max: Option<Quantity>,
    default: Option<Quantity>,
    request: Option<Quantity>,
    ratio: Option<Quantity>,
}

impl Bounds {
    fn of(item: &Object, kind: &str, name: &str) -> Self {
        let of = |part: &str| item.object(part)?.get(name).and_then(quantity);
        // A pod has no defaults.
        let of_container = |part: &str| (kind != "Pod").then(|| of(part)).flatten();
        Self {
            min: of("min"),
            max: of("max"),
            default: of_container("default"),
            request: of_container("defaultRequest"),
            ratio: of("maxLimitRequestRatio"),
        }
    }

    /// min ≤ defaultRequest ≤ default ≤ max, and a ratio that leaves room between min and max.
    fn validate(&self, errors: &mut ErrorList, at: &Path, name: &str) {
        let (min, max) = (self.min.as_ref(), self.max.as_ref());
        let (default, request) = (self.default.as_ref(), self.request.as_ref());
        // Lower, upper, their names, and whose path and value the complaint has.
        let orders = [
            (min, max, "min", "max", "min", min),
            (
                min,
                request,
                "min",
                "default request",
                "defaultRequest",
                request,
            ),
            (
                request,
                max,
                "default request",
                "max",
                "defaultRequest",
                request,
            ),
            (
                request,
                default,
                "default request",
                "default limit",
                "defaultRequest",
                request,
            ),
            (min, default, "min", "default", "default", min),
            (default, max, "default", "max", "default", max),
        ];
        for (low, high, low_name, high_name, part, value) in orders {
            if let (Some(low), Some(high), Some(value)) = (low, high, value)
                && low > high
            {
                errors.push(FieldError::invalid(
                    &at.child(part).key(name),
                    value.to_string(),
                    format!("{low_name} value {low} is greater than {high_name} value {high}"),
                ));
            }
        }
        if let Some(ratio) = &self.ratio {
            let at = at.child("maxLimitRequestRatio").key(name);
            if *ratio < Quantity::from(1) {
                let detail = format!("ratio {ratio} is less than 1");
                errors.push(FieldError::invalid(&at, ratio.to_string(), detail));
            }
            if let (Some(min), Some(max)) = (min, max) {
                let limit = max.as_f64() / min.as_f64();
                if ratio.as_f64() > limit {
                    let detail = format!("ratio {ratio} is greater than max/min = {limit:.6}");
                    errors.push(FieldError::invalid(&at, ratio.to_string(), detail));
                }
            }
        }
        if let (Some(default), Some(request)) = (default, request)
            && !resources::is_overcommitable(name)
            && default != request
        {
            errors.push(FieldError::invalid(
                &at.child("defaultRequest").key(name),
                request.to_string(),
                format!(
                    "default value {default} must equal to defaultRequest value {request} in {name}"
                ),
            ));
        }
    }
}
