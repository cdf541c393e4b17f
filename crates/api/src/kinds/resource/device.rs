//! A device of a ResourceSlice: its attributes and capacities, what it takes of shared counters, its taints, and where it can be used.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
};
use serde_json::Value;

use super::{capacity, device_names, lists};
use crate::{
    fields::{Fields, quantity, same_field},
    internal,
    kinds::core::pod_spec::resources,
    names,
    validate::{invalid_shown, required_text, selectors, text},
};

/// Attributes and capacities together.
const MAX_PROPERTIES: usize = 32;
/// Values of attributes, each of a list by itself.
const MAX_ATTRIBUTE_VALUES: usize = 48;
const MAX_VALUE_BYTES: usize = 64;
const MAX_TAINTS: usize = 16;
const MAX_CONSUMPTIONS: usize = 2;
const MAX_COUNTERS: usize = 32;

/// Judges a device, in the light of the one of its name that was there before.
pub(super) fn validate(
    errors: &mut ErrorList,
    path: &Path,
    device: &Object,
    old: Option<&Object>,
    has_own_nodes: bool,
) {
    device_names::label(errors, &path.child("name"), device.text("name"));
    sizes(errors, path, device);
    let max_key = device_names::MAX_QUALIFIED;
    lists::map(
        errors,
        &path.child("attributes"),
        device.object("attributes"),
        max_key,
        device_names::qualified,
        attribute,
    );
    let is_shared = device.is_true("allowMultipleAllocations");
    lists::map(
        errors,
        &path.child("capacity"),
        device.object("capacity"),
        max_key,
        device_names::qualified,
        |errors, at, value| capacity::validate(errors, at, value, is_shared),
    );
    // Taints that have not changed may be what an older server let in.
    if old.is_none_or(|old| !same_field(old, device, "taints")) {
        let list = device.list("taints");
        let at = path.child("taints");
        lists::objects(errors, &at, list, MAX_TAINTS, device_names::taint);
    }
    lists::object_set(
        errors,
        &path.child("consumesCounters"),
        device.list("consumesCounters"),
        MAX_CONSUMPTIONS,
        |errors, at, consumption| counters(errors, at, consumption, "counterSet"),
        "counterSet",
    );
    if has_own_nodes {
        nodes(errors, path, device);
    } else if ["nodeName", "nodeSelector", "allNodes"]
        .iter()
        .any(|f| device.has(f))
    {
        errors.push(FieldError::invalid(
            path,
            Value::Null,
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
        ));
    }
    device_names::binding_conditions(errors, path, device);
    mappings(
        errors,
        &path.child("nodeAllocatableResourceMappings"),
        device,
    );
}

fn sizes(errors: &mut ErrorList, path: &Path, device: &Object) {
    let attributes = device.object("attributes");
    let count =
        attributes.map_or(0, Object::len) + device.object("capacity").map_or(0, Object::len);
    if count > MAX_PROPERTIES {
        let detail = format!(
            "the total number of attributes and capacities must not exceed {MAX_PROPERTIES}"
        );
        errors.push(FieldError::invalid(path, count, detail));
    }
    let values: usize = attributes
        .into_iter()
        .flat_map(Object::values)
        .map(|value| {
            let items = LISTS.iter().filter_map(|list| value[list].as_array());
            items.map(Vec::len).sum::<usize>().max(1)
        })
        .sum();
    if values > MAX_ATTRIBUTE_VALUES {
        let detail =
            format!("the total number of attribute values must not exceed {MAX_ATTRIBUTE_VALUES}");
        errors.push(FieldError::invalid(path, values, detail));
    }
}

/// Attributes of several values.
pub(super) const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];

/// An attribute has one value, or one list of values.
fn attribute(errors: &mut ErrorList, path: &Path, value: &Value) {
    const ONE: &str = "exactly one value must be specified";
    let Some(attribute) = value.as_object() else {
        return;
    };
    for (field, rule) in [
        ("string", string_value as fn(&mut ErrorList, &Path, &str)),
        ("version", version_value),
    ] {
        if let Some(value) = attribute.text_opt(field) {
            rule(errors, &path.child(field), value);
        }
    }
    for list in LISTS {
        let at = path.child(list);
        if attribute.has(list) && attribute.list(list).is_empty() {
            let empty = Value::Array(Vec::new());
            errors.push(FieldError::invalid(
                &at,
                empty,
                "must not be empty if specified",
            ));
        }
        for (index, value) in attribute.texts(list).enumerate() {
            match list {
                "strings" => string_value(errors, &at.index(index), value),
                "versions" => version_value(errors, &at.index(index), value),
                _ => {}
            }
        }
    }
    let scalars = ["bool", "int", "string", "version"];
    match scalars
        .iter()
        .chain(&LISTS)
        .filter(|f| attribute.has(f))
        .count()
    {
        0 => errors.push(FieldError::invalid(path, "", ONE)),
        1 => {}
        _ => {
            let ty = "io.k8s.api.resource.v1.DeviceAttribute";
            errors.push(invalid_shown(path, &internal::shown(ty, Some(value)), ONE));
        }
    }
}

fn string_value(errors: &mut ErrorList, path: &Path, value: &str) {
    if value.len() > MAX_VALUE_BYTES {
        errors.push(FieldError::too_long(path, MAX_VALUE_BYTES));
    }
}

fn version_value(errors: &mut ErrorList, path: &Path, value: &str) {
    if !is_semantic_version(value) {
        errors.push(FieldError::invalid(
            path,
            value,
            "must be a string compatible with semver.org spec 2.0.0",
        ));
    }
    string_value(errors, path, value);
}

/// `1.2.3-alpha.1+build.5`: numbers without leading zeros.
fn is_semantic_version(text: &str) -> bool {
    let (rest, build) = text
        .split_once('+')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (core, release) = rest
        .split_once('-')
        .map_or((rest, None), |(a, b)| (a, Some(b)));
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let is_identifier = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let no_leading_zero = |part: &str| part == "0" || !part.starts_with('0') || !is_number(part);
    core.split('.').count() == 3
        && core
            .split('.')
            .all(|p| !p.is_empty() && is_number(p) && no_leading_zero(p))
        && release.is_none_or(|r| r.split('.').all(|p| is_identifier(p) && no_leading_zero(p)))
        && build.is_none_or(|b| b.split('.').all(is_identifier))
}

/// A set of counters, or what a device takes of one: `name_field` names it.
pub(super) fn counters(errors: &mut ErrorList, path: &Path, owner: &Object, name_field: &str) {
    required_text(
        errors,
        &path.child(name_field),
        owner.text(name_field),
        names::dns1123_label,
    );
    let at = path.child("counters");
    match owner.object("counters").map_or(0, Object::len) {
        0 => errors.push(FieldError::required(&at, "")),
        count if count > MAX_COUNTERS => {
            errors.push(FieldError::too_many(&at, count, MAX_COUNTERS));
        }
        // Any quantity is good.
        _ => lists::map(
            errors,
            &at,
            owner.object("counters"),
            names::DNS_LABEL_MAX,
            device_names::label,
            |_, _, _| {},
        ),
    }
}

/// Where a device can be used, if its slice leaves it to each: said in exactly one way.
fn nodes(errors: &mut ErrorList, path: &Path, device: &Object) {
    const ONE_OF: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    let mut said = Vec::new();
    let at = path.child("nodeName");
    match device.text_opt("nodeName") {
        Some("") => errors.push(FieldError::invalid(&at, "", "must not be empty")),
        Some(node) => {
            said.push("`nodeName`");
            text(errors, &at, node, names::dns1123_subdomain(node));
        }
        None => {}
    }
    if let Some(selector) = device.object("nodeSelector") {
        said.push("`nodeSelector`");
        selectors::node_selector(errors, &path.child("nodeSelector"), selector);
    }
    match device.bool_opt("allNodes") {
        Some(true) => said.push("`allNodes`"),
        Some(false) => errors.push(FieldError::invalid(
            &path.child("allNodes"),
            false,
            "must be either unset or set to true",
        )),
        None => {}
    }
    match said.len() {
        0 => errors.push(FieldError::required(path, ONE_OF)),
        1 => {}
        _ => {
            let shown = format!("{{{}}}", said.join(", "));
            errors.push(FieldError::invalid(path, shown, ONE_OF));
        }
    }
}

/// What a device takes of a node's own resources.
fn mappings(errors: &mut ErrorList, path: &Path, device: &Object) {
    let capacities = device.object("capacity");
    let mappings = device.object("nodeAllocatableResourceMappings");
    for (resource, mapping) in mappings.into_iter().flatten() {
        let at = path.key(resource);
        if !resources::is_native(resource) {
            let detail = "must be a node allocatable resource name";
            errors.push(FieldError::invalid(&at, resource.as_str(), detail));
        }
        let multiplier = mapping.get("allocationMultiplier").filter(|m| !m.is_null());
        let key = mapping.get("capacityKey").and_then(Value::as_str);
        if multiplier.is_none() && key.is_none() {
            let detail = "at least one of allocationMultiplier or capacityKey must be set";
            errors.push(FieldError::invalid(&at, "", detail));
            continue;
        }
        if let Some(factor) = multiplier.and_then(quantity).filter(|q| q.sign() <= 0) {
            let at = at.child("allocationMultiplier");
            errors.push(FieldError::invalid(
                &at,
                factor.to_string(),
                "must be positive",
            ));
        }
        let at = at.child("capacityKey");
        match key {
            Some("") => errors.push(FieldError::invalid(
                &at,
                "",
                "capacityKey must not be an empty string",
            )),
            Some(key) if !capacities.is_some_and(|c| c.contains_key(key)) => {
                errors.push(FieldError::not_found(&at, key));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(device: Value, has_own_nodes: bool) -> Vec<String> {
        let mut errors = Vec::new();
        let device = device.as_object().unwrap();
        validate(&mut errors, &Path::new("d"), device, None, has_own_nodes);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_attribute_has_one_value() {
        let device = |attribute: Value| json!({"name": "d", "attributes": {"a": attribute}});
        for good in [
            json!({"bool": true}),
            json!({"int": 0}),
            json!({"version": "1.0.0-rc.1+x"}),
            json!({"strings": ["a"]}),
        ] {
            assert_eq!(complaints(device(good.clone()), false), [""; 0], "{good}");
        }
        assert_eq!(
            complaints(device(json!({})), false),
            ["d.attributes[a]: Invalid value: \"\": exactly one value must be specified"]
        );
        assert_eq!(
            complaints(device(json!({"int": 2, "version": "1.0"})), false),
            [
                "d.attributes[a].version: Invalid value: \"1.0\": must be a string compatible with semver.org spec 2.0.0",
                r#"d.attributes[a]: Invalid value: {"IntValue":2,"BoolValue":null,"StringValue":null,"VersionValue":"1.0","IntValues":null,"BoolValues":null,"StringValues":null,"VersionValues":null}: exactly one value must be specified"#
            ]
        );
    }

    #[test]
    fn nodes_are_said_once_and_only_if_asked_for() {
        let device = json!({"name": "d", "nodeName": "n", "allNodes": true});
        assert!(complaints(device.clone(), false)[0].contains("can only be set if"));
        assert!(
            complaints(device, true)[0]
                .starts_with("d: Invalid value: \"{`nodeName`, `allNodes`}\"")
        );
        assert!(
            complaints(json!({"name": "d"}), true)[0]
                .starts_with("d: Required value: exactly one of")
        );
    }

    #[test]
    fn versions() {
        for good in ["0.0.0", "1.2.3", "1.2.3-0.a-b.1", "1.2.3+01", "1.2.3-x+y.z"] {
            assert!(is_semantic_version(good), "{good}");
        }
        for bad in [
            "", "1", "1.2", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "1.2.3.4", "v1.2.3",
        ] {
            assert!(!is_semantic_version(bad), "{bad}");
        }
    }
}
