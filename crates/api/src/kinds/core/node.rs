//! `v1` Node: a machine that runs pods. Its status is the kubelet's.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::pod_spec::{resources, scheduling},
    lifecycle, names,
    validate::{shown_as, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "nodes"),
    gvk: GroupVersionKind::new("", "v1", "Node"),
    singular: "node",
    scope: Scope::Cluster,
    short_names: &["no"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[
        Subresource {
            name: "proxy",
            gvk: GroupVersionKind::new("", "v1", "NodeProxyOptions"),
            verbs: verbs::PROXY,
        },
        Subresource::status(GroupVersionKind::new("", "v1", "Node")),
    ],
    storage: Some(Storage::plain("minions")),
    strategy: &NodeStrategy,
};

#[derive(Debug)]
struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn default(&self, object: &mut Object) {
        pod_cidrs(object.ensure_object("spec"));
        let status = object.ensure_object("status");
        status
            .ensure_object("daemonEndpoints")
            .ensure_object("kubeletEndpoint")
            .set_default("Port", 0);
        let info = status.ensure_object("nodeInfo");
        for field in NODE_INFO {
            info.set_default(field, "");
        }
        // What is allocatable is all there is, until the kubelet says otherwise.
        if let Some(capacity) = status.object("capacity").filter(|c| !c.is_empty()).cloned() {
            status.set_default("allocatable", capacity);
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.ensure_object("spec").remove(CONFIG_SOURCE);
        object.ensure_object("status").remove("config");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        if !old
            .object("spec")
            .is_some_and(|spec| spec.has(CONFIG_SOURCE))
        {
            new.ensure_object("spec").remove(CONFIG_SOURCE);
        }
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        if !old
            .object("status")
            .is_some_and(|status| status.has("config"))
        {
            new.ensure_object("status").remove("config");
        }
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let unschedulable = object
            .object("spec")
            .is_some_and(|s| s.is_true("unschedulable"));
        vec![("spec.unschedulable", unschedulable.to_string())]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "spec.unschedulable")
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_node(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        validate_node(&mut errors, new);
        errors.extend(crate::meta::validate_update(new, old));
        validate_change(&mut errors, new, old);
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn status_repeats_metadata_rules(&self) -> bool {
        true
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_change(&mut errors, new, old);
        errors
    }

    fn warnings(&self, new: &Object, _old: Option<&Object>) -> Vec<String> {
        let empty = Object::new();
        let spec = new.object("spec").unwrap_or(&empty);
        let mut warnings = Vec::new();
        if spec.has(CONFIG_SOURCE) {
            warnings.push("spec.configSource: the feature is removed".to_owned());
        }
        if !spec.text("externalID").is_empty() {
            warnings.push(
                "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned(),
            );
        }
        for (index, cidr) in spec.texts("podCIDRs").enumerate() {
            let at = Path::new("spec").child("podCIDRs").index(index);
            let said = names::cidr_warnings(cidr).into_iter();
            warnings.extend(said.map(|said| format!("{at}: {said}")));
        }
        warnings
    }
}

/// Configuration of kubelets from ConfigMaps: a feature that is gone.
const CONFIG_SOURCE: &str = "configSource";

const NODE_INFO: &[&str] = &[
    "machineID",
    "systemUUID",
    "bootID",
    "kernelVersion",
    "osImage",
    "containerRuntimeVersion",
    "kubeletVersion",
    "kubeProxyVersion",
    "operatingSystem",
    "architecture",
];

fn validate_node(errors: &mut ErrorList, node: &Object) {
    let empty = Object::new();
    let spec = node.object("spec").unwrap_or(&empty);
    taints(errors, spec);
    resources_of(errors, node);
    let swap = node
        .object("status")
        .and_then(|status| status.object("nodeInfo"))
        .and_then(|info| info.object("swap"))
        .and_then(|swap| swap.int("capacity"));
    if let Some(capacity) = swap.filter(|capacity| *capacity <= 0) {
        let at = Path::new("metadata")
            .child("nodeSwapStatus")
            .child("capacity");
        errors.push(FieldError::invalid(
            &at,
            capacity,
            "must be greater than zero",
        ));
    }
    declared_features(errors, node);
    let path = Path::new("spec").child("podCIDRs");
    let cidrs: Vec<&str> = spec.texts("podCIDRs").collect();
    for (index, cidr) in cidrs.iter().enumerate() {
        text(errors, &path.index(index), cidr, names::legacy_cidr(cidr));
    }
    if cidrs.len() < 2 {
        return;
    }
    let families: Vec<bool> = cidrs
        .iter()
        .filter_map(|cidr| names::parse_cidr_sloppy(cidr))
        .map(|(ip, _)| ip.is_ipv4())
        .collect();
    let mut unread = cidrs.iter().enumerate();
    if let Some((index, bad)) = unread.find(|(_, c)| names::parse_cidr_sloppy(c).is_none()) {
        errors.push(FieldError::internal(
            &path,
            format!("invalid PodCIDRs. failed to check with dual stack with error:invalid CIDR[{index}]: <nil> (invalid CIDR address: {bad})"),
        ));
    }
    let dual = families.contains(&true) && families.contains(&false);
    if !dual || cidrs.len() > 2 {
        errors.push(FieldError::invalid(
            &path,
            spec.list("podCIDRs").to_vec(),
            "may specify no more than one CIDR for each IP family",
        ));
    }
}

fn taints(errors: &mut ErrorList, spec: &Object) {
    // Where they stood when they were an annotation.
    let taints = Path::new("metadata").child("taints");
    let mut seen: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (index, taint) in spec.objects("taints") {
        let at = taints.index(index);
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        text(errors, &at.child("key"), key, names::qualified_name(key));
        let complaints = names::label_value(value);
        if !complaints.is_empty() {
            let detail = complaints.join(";");
            errors.push(FieldError::invalid(&at.child("value"), value, detail));
        }
        let effect_at = at.child("effect");
        if effect.is_empty() {
            errors.push(FieldError::required(&effect_at, ""));
        } else {
            scheduling::taint_effect(errors, &effect_at, effect);
        }
        if !seen.insert((key, effect)) {
            let taint = Value::Object(taint.clone());
            errors.push(shown_as(
                ErrorType::Duplicate,
                &at,
                &internal::shown("io.k8s.api.core.v1.Taint", Some(&taint)),
                "taints must be unique by key and effect pair",
            ));
        }
    }
}

fn resources_of(errors: &mut ErrorList, node: &Object) {
    let status = Path::new("status");
    for field in ["capacity", "allocatable"] {
        let amounts = node.object("status").and_then(|s| s.object(field));
        for (name, value) in amounts.into_iter().flatten() {
            // Upstream's path has the name as a field.
            let at = status.child(field).child(name);
            resources::quantity_value(errors, &at, name, value);
        }
    }
}

/// `MyFeature/mySubFeature`, sorted.
fn declared_features(errors: &mut ErrorList, node: &Object) {
    let path = Path::new("status").child("declaredFeatures");
    let features: Vec<&str> = node
        .object("status")
        .into_iter()
        .flat_map(|status| status.texts("declaredFeatures"))
        .collect();
    for (index, feature) in features.iter().enumerate() {
        let shown = apimachinery::quote(feature);
        let complaint = if feature.len() > 253 {
            format!("invalid feature name {shown}: must be no more than 253 characters")
        } else if !is_feature(feature) {
            format!(
                "invalid feature name {shown}: must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
            )
        } else {
            String::new()
        };
        if !complaint.is_empty() {
            errors.push(FieldError::invalid(&path.index(index), *feature, complaint));
        }
        let Some(next) = features.get(index + 1) else {
            continue;
        };
        let at = path.index(index + 1);
        if feature == next {
            errors.push(FieldError::duplicate(&at, *next));
        } else if feature > next {
            errors.push(FieldError::invalid(
                &at,
                *next,
                "list must be sorted alphabetically",
            ));
        }
    }
}

fn is_feature(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
        && name.split('/').all(|segment| {
            segment
                .bytes()
                .next()
                .is_some_and(|b| b.is_ascii_alphabetic())
                && segment.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// What an update of a node or its status may not do.
fn validate_change(errors: &mut ErrorList, new: &Object, old: &Object) {
    let empty = Object::new();
    let (spec, before) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    resources_of(errors, new);
    declared_features(errors, new);
    let addresses = new
        .object("status")
        .map_or(&[][..], |s| s.list("addresses"));
    for (index, address) in addresses.iter().enumerate() {
        if addresses[..index].contains(address) {
            let at = Path::new("status").child("addresses").index(index);
            let ty = "io.k8s.api.core.v1.NodeAddress";
            let shown = internal::shown(ty, Some(address));
            errors.push(shown_as(ErrorType::Duplicate, &at, &shown, ""));
        }
    }
    let path = Path::new("spec");
    let mut keep = |field: &str, detail: &str| {
        errors.push(FieldError::forbidden(&path.child(field), detail));
    };
    let (now, then) = (spec.list("podCIDRs"), before.list("podCIDRs"));
    const CIDR: &str = "node updates may not change podCIDR except from \"\" to valid";
    if !then.is_empty() {
        if now.len() == then.len() {
            for _ in now.iter().zip(then).filter(|(now, then)| now != then) {
                keep("podCIDRs", CIDR);
            }
        } else {
            keep("podCIDRs", CIDR);
        }
    }
    let provider = before.text("providerID");
    if !provider.is_empty() && provider != spec.text("providerID") {
        keep(
            "providerID",
            "node updates may not change providerID except from \"\" to valid",
        );
    }
    taints(errors, spec);
    if spec.text("externalID") != before.text("externalID") {
        let at = path.child("externalID");
        errors.push(FieldError::forbidden(&at, "may not be updated"));
    }
}

/// `podCIDR` is the older name of the first of `podCIDRs`, and wins.
fn pod_cidrs(spec: &mut Object) {
    let single = spec.text("podCIDR").to_owned();
    let first = spec.texts("podCIDRs").next().unwrap_or_default().to_owned();
    if !single.is_empty() && single != first {
        spec.set("podCIDRs", vec![serde_json::Value::from(single)]);
    } else if single.is_empty() && !first.is_empty() {
        spec.set("podCIDR", first);
    }
}
