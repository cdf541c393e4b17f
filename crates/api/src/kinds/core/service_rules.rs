//! The rules of a Service, apart from its kind's file because they are many.
//!
//! Addresses and node ports are the allocators' to judge: here is what can be said without them.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, ErrorType, FieldError, Path},
};
use serde_json::Value;

use crate::{
    fields::Fields,
    kinds::{core::service::is_externally_accessible, discovery::endpoint_slice::non_special_ip},
    meta, names,
    validate::{one_of, ports, shown_as, text},
};

/// A new Service, or a changed one with what it was.
pub(super) fn validate(service: &Object, old: Option<&Object>) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let spec = service.object("spec").unwrap_or(&empty);
    let before = old.and_then(|old| old.object("spec")).unwrap_or(&empty);
    let path = Path::new("spec");
    let headless = is_headless(spec);
    let kind = spec.text("type");
    topology_annotations(&mut errors, service);
    if spec.list("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    by_type(&mut errors, &path, spec);
    let many = spec.list("ports").len() > 1;
    let mut seen = BTreeSet::new();
    for (index, port) in spec.objects("ports") {
        let at = path.child("ports").index(index);
        service_port(&mut errors, &at, port, many, &mut seen);
    }
    errors.extend(meta::validate_labels(
        spec.object("selector"),
        &path.child("selector"),
    ));
    session_affinity(&mut errors, &path, spec);
    cluster_ips(&mut errors, &path, spec, before);
    external_ips(&mut errors, &path.child("externalIPs"), spec, before);
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), ""));
    } else {
        one_of(
            &mut errors,
            &path.child("type"),
            kind,
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        );
    }
    if kind == "ClusterIP" {
        for (index, port) in spec.objects("ports") {
            if port.int("nodePort").unwrap_or(0) != 0 {
                errors.push(FieldError::forbidden(
                    &path.child("ports").index(index).child("nodePort"),
                    "may not be used when `type` is 'ClusterIP'",
                ));
            }
        }
    }
    duplicates(&mut errors, &path.child("ports"), spec);
    source_ranges(&mut errors, service, old);
    load_balancer(&mut errors, &path, spec);
    traffic_policies(&mut errors, &path, spec);
    errors
}

/// The older annotation about topology, and the newer: together they say the same.
fn topology_annotations(errors: &mut ErrorList, service: &Object) {
    const MODE: &str = "service.kubernetes.io/topology-mode";
    let of = |key| apimachinery::meta::annotation(service, key);
    if let (Some(mode), Some(hints)) = (of(MODE), of(TOPOLOGY_HINTS))
        && mode != hints
    {
        errors.push(FieldError::invalid(
            &Path::new("metadata").child("annotations").key(MODE),
            mode,
            format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified"),
        ));
    }
}

/// Deprecated for `service.kubernetes.io/topology-mode`.
pub(super) const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";

/// Whether a Service has no address of its own.
pub(super) fn is_headless(spec: &Object) -> bool {
    spec.list("clusterIPs").len() == 1 && spec.texts("clusterIPs").next() == Some("None")
}

fn by_type(errors: &mut ErrorList, path: &Path, spec: &Object) {
    match spec.text("type") {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            errors.push(FieldError::invalid(
                &path.child("clusterIPs").index(0),
                "None",
                format!(
                    "may not be set to 'None' for {} services",
                    spec.text("type")
                ),
            ));
        }
        "ExternalName" => {
            for (field, set) in [
                ("clusterIPs", !spec.list("clusterIPs").is_empty()),
                ("ipFamilies", !spec.list("ipFamilies").is_empty()),
                ("ipFamilyPolicy", spec.has("ipFamilyPolicy")),
            ] {
                if set {
                    errors.push(FieldError::forbidden(
                        &path.child(field),
                        "may not be set for ExternalName services",
                    ));
                }
            }
            let name = spec.text("externalName");
            let name = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                errors.push(FieldError::required(&path.child("externalName"), ""));
            } else {
                text(
                    errors,
                    &path.child("externalName"),
                    name,
                    names::dns1123_subdomain(name),
                );
            }
        }
        _ => {}
    }
}

fn service_port<'a>(
    errors: &mut ErrorList,
    at: &Path,
    port: &'a Object,
    many: bool,
    seen: &mut BTreeSet<&'a str>,
) {
    let name = port.text("name");
    if name.is_empty() {
        if many {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
    } else {
        text(errors, &at.child("name"), name, names::dns1123_label(name));
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
    }
    let number = port.int("port").unwrap_or(0);
    ports::number(errors, &at.child("port"), number);
    if port.text("protocol").is_empty() {
        errors.push(FieldError::required(&at.child("protocol"), ""));
    } else {
        one_of(
            errors,
            &at.child("protocol"),
            port.text("protocol"),
            &["SCTP", "TCP", "UDP"],
        );
    }
    ports::number_or_name(errors, &at.child("targetPort"), port.get("targetPort"));
    if let Some(protocol) = port.text_opt("appProtocol") {
        text(
            errors,
            &at.child("appProtocol"),
            protocol,
            names::qualified_name(protocol),
        );
    }
}

fn duplicates(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let mut node_ports = BTreeSet::new();
    for (index, port) in spec.objects("ports") {
        let number = port.int("nodePort").unwrap_or(0);
        let key = (port.text("protocol"), number);
        if !node_ports.insert(key) && number != 0 {
            let at = path.index(index).child("nodePort");
            errors.push(FieldError::duplicate(&at, number));
        }
    }
    let mut numbers = BTreeSet::new();
    for (index, port) in spec.objects("ports") {
        let key = (port.text("protocol"), port.int("port").unwrap_or(0));
        if !numbers.insert(key) {
            // Upstream prints the key it compares by: a port of which all else is empty.
            let shown = format!(
                "{{\"Name\":\"\",\"Protocol\":{:?},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                key.0, key.1
            );
            errors.push(shown_as(
                ErrorType::Duplicate,
                &path.index(index),
                &shown,
                "",
            ));
        }
    }
}

fn session_affinity(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let affinity = spec.text("sessionAffinity");
    if affinity.is_empty() {
        errors.push(FieldError::required(&path.child("sessionAffinity"), ""));
    } else {
        one_of(
            errors,
            &path.child("sessionAffinity"),
            affinity,
            &["ClientIP", "None"],
        );
    }
    let at = path.child("sessionAffinityConfig");
    let config = spec.object("sessionAffinityConfig");
    match affinity {
        "ClientIP" => client_ip_affinity(errors, &at, config),
        "None" if config.is_some() => errors.push(FieldError::forbidden(
            &at,
            "must not be set when session affinity is None",
        )),
        _ => {}
    }
}

fn client_ip_affinity(errors: &mut ErrorList, path: &Path, config: Option<&Object>) {
    const WHEN: &str = "when session affinity type is ClientIP";
    const MAX_SECONDS: i64 = 86_400;
    let at = path.child("clientIP");
    let client = config.and_then(|config| config.object("clientIP"));
    let seconds = client.and_then(|client| client.int("timeoutSeconds"));
    let timeout = at.child("timeoutSeconds");
    match (config, client, seconds) {
        (None, ..) => errors.push(FieldError::required(path, WHEN)),
        (_, None, _) => errors.push(FieldError::required(&at, WHEN)),
        (.., None) => errors.push(FieldError::required(&timeout, WHEN)),
        (.., Some(1..=MAX_SECONDS)) => {}
        (.., Some(seconds)) => errors.push(FieldError::invalid(
            &timeout,
            seconds,
            format!("must be greater than 0 and less than {MAX_SECONDS}"),
        )),
    }
}

/// A list as messages show it.
fn shown_list(spec: &Object, field: &str) -> Value {
    spec.value(field).cloned().unwrap_or(Value::Null)
}

/// What is wrong with the addresses and families of a Service, taken together.
pub(super) fn cluster_ips(errors: &mut ErrorList, path: &Path, spec: &Object, before: &Object) {
    if spec.text("type") == "ExternalName" {
        return;
    }
    let at = path.child("clusterIPs");
    let refuse = |errors: &mut ErrorList, detail: &str| {
        let shown = shown_list(spec, "clusterIPs");
        errors.push(FieldError::invalid(&at, shown, detail));
    };
    let ips: Vec<&str> = spec.texts("clusterIPs").collect();
    let single = spec.text("clusterIP");
    match (single.is_empty(), ips.first()) {
        (false, None) => errors.push(FieldError::required(&at, "")),
        (false, Some(first)) if *first != single => {
            refuse(errors, "first value must match `clusterIP`");
        }
        (true, Some(_)) => refuse(errors, "must be empty when `clusterIP` is not specified"),
        _ => {}
    }
    families(errors, path, spec);
    let known: Vec<&str> = before.texts("clusterIPs").collect();
    let mut sound = true;
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && *ip == "None" {
            if ips.len() > 1 {
                sound = false;
                refuse(errors, "'None' must be the first and only value");
            }
            continue;
        }
        let complaints = if known.contains(ip) {
            Vec::new()
        } else {
            names::legacy_ip(ip)
        };
        sound &= complaints.is_empty();
        text(errors, &at.index(index), ip, complaints);
    }
    if ips.len() > 2 {
        refuse(errors, "may only hold up to 2 values");
    }
    if !sound {
        return;
    }
    let parsed: Vec<_> = ips
        .iter()
        .filter_map(|ip| names::parse_ip_sloppy(ip))
        .collect();
    let dual = parsed.iter().any(|ip| ip.is_ipv4()) && parsed.iter().any(|ip| ip.is_ipv6());
    if ips.len() > 1 && !dual {
        refuse(errors, "may specify no more than one IP for each IP family");
    }
    if is_headless(spec) {
        return;
    }
    for (index, (ip, family)) in parsed.iter().zip(spec.texts("ipFamilies")).enumerate() {
        let other = match family {
            "IPv4" => ip.is_ipv6(),
            "IPv6" => ip.is_ipv4(),
            _ => false,
        };
        if other {
            errors.push(FieldError::invalid(
                &at.index(index),
                ips[index],
                format!("expected an {family} value as indicated by `ipFamilies[{index}]`"),
            ));
        }
    }
}

fn families(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let mut seen = BTreeSet::new();
    for (index, family) in spec.texts("ipFamilies").enumerate() {
        let at = path.child("ipFamilies").index(index);
        one_of(errors, &at, family, &["IPv4", "IPv6"]);
        if !seen.insert(family) {
            errors.push(FieldError::duplicate(&at, family));
        }
    }
    if let Some(policy) = spec.text_opt("ipFamilyPolicy") {
        one_of(
            errors,
            &path.child("ipFamilyPolicy"),
            policy,
            &["PreferDualStack", "RequireDualStack", "SingleStack"],
        );
    }
}

fn external_ips(errors: &mut ErrorList, path: &Path, spec: &Object, before: &Object) {
    let known: Vec<&str> = before.texts("externalIPs").collect();
    for (index, ip) in spec.texts("externalIPs").enumerate() {
        let at = path.index(index);
        let complaints = match names::parse_ip_sloppy(ip) {
            Some(parsed) if known.contains(&ip) || names::legacy_ip(ip).is_empty() => {
                non_special_ip(parsed)
            }
            _ => names::legacy_ip(ip),
        };
        text(errors, &at, ip, complaints);
    }
}

/// Who may reach a balanced Service: in its field, or in the annotation of old.
fn source_ranges(errors: &mut ErrorList, service: &Object, old: Option<&Object>) {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let empty = Object::new();
    let spec = service.object("spec").unwrap_or(&empty);
    let balanced = spec.text("type") == "LoadBalancer";
    let annotation = |service| apimachinery::meta::annotation(service, ANNOTATION);
    if !spec.list("loadBalancerSourceRanges").is_empty() {
        // Upstream's path has a capital.
        let at = Path::new("spec").child("LoadBalancerSourceRanges");
        if !balanced {
            errors.push(FieldError::forbidden(&at, ONLY));
        }
        let before = old.and_then(|old| old.object("spec")).unwrap_or(&empty);
        let known: Vec<&str> = before
            .texts("loadBalancerSourceRanges")
            .map(str::trim)
            .collect();
        let ranges = spec.texts("loadBalancerSourceRanges").map(str::trim);
        for (index, range) in ranges.enumerate().filter(|(_, r)| !known.contains(r)) {
            text(errors, &at.index(index), range, names::legacy_cidr(range));
        }
    } else if let Some(ranges) = annotation(service) {
        let at = Path::new("metadata").child("annotations").key(ANNOTATION);
        if !balanced {
            errors.push(FieldError::forbidden(&at, ONLY));
        }
        if old.and_then(annotation) != Some(ranges) && !ranges.trim().is_empty() {
            for range in ranges.trim().split(',').map(str::trim) {
                text(errors, &at, range, names::legacy_cidr(range));
            }
        }
    }
}

fn load_balancer(errors: &mut ErrorList, path: &Path, spec: &Object) {
    const ONLY: &str = "may only be used when `type` is 'LoadBalancer'";
    let balanced = spec.text("type") == "LoadBalancer";
    let allocate = "allocateLoadBalancerNodePorts";
    if !balanced && spec.has(allocate) {
        errors.push(FieldError::forbidden(&path.child(allocate), ONLY));
    }
    if balanced && !spec.has(allocate) {
        // Upstream's path is that of the root.
        errors.push(FieldError::required(&Path::new(allocate), ""));
    }
    load_balancer_class(errors, &path.child("loadBalancerClass"), spec);
}

fn load_balancer_class(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let Some(class) = spec.text_opt("loadBalancerClass") else {
        return;
    };
    if spec.text("type") == "LoadBalancer" {
        text(errors, path, class, names::qualified_name(class));
    } else {
        let detail = "may only be used when `type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(path, detail));
    }
}

fn traffic_policies(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let at = path.child("externalTrafficPolicy");
    let policy = spec.text("externalTrafficPolicy");
    if !is_externally_accessible(spec) {
        if !policy.is_empty() {
            errors.push(FieldError::invalid(
                &at,
                policy,
                "may only be set for externally-accessible services",
            ));
        }
    } else if policy.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        one_of(errors, &at, policy, &["Cluster", "Local"]);
    }
    let health = spec.int("healthCheckNodePort").unwrap_or(0);
    let needs_health = spec.text("type") == "LoadBalancer" && policy == "Local";
    let at = path.child("healthCheckNodePort");
    match (needs_health, health) {
        (false, 0) => {}
        (false, _) => errors.push(FieldError::invalid(
            &at,
            health,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        )),
        (true, 0) => errors.push(FieldError::required(&at, "")),
        (true, _) => ports::number(errors, &at, health),
    }
    let at = path.child("internalTrafficPolicy");
    match spec.text_opt("internalTrafficPolicy") {
        None if matches!(spec.text("type"), "NodePort" | "LoadBalancer" | "ClusterIP") => {
            errors.push(FieldError::required(&at, ""));
        }
        None => {}
        Some(policy) => one_of(errors, &at, policy, &["Cluster", "Local"]),
    }
    if spec.has("trafficDistribution") {
        one_of(
            errors,
            &path.child("trafficDistribution"),
            spec.text("trafficDistribution"),
            &["PreferClose", "PreferSameZone", "PreferSameNode"],
        );
    }
}

/// What was allocated stays allocated.
pub(super) fn validate_change(new: &Object, old: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let (after, before) = (
        new.object("spec").unwrap_or(&empty),
        old.object("spec").unwrap_or(&empty),
    );
    let path = Path::new("spec");
    let addressed = |spec: &Object| spec.text("type") != "ExternalName";
    if addressed(after) && addressed(before) {
        let (now, then) = (is_headless(after), is_headless(before));
        if !(now && then) {
            kept_in_order(&mut errors, &path, after, before, &CLUSTER_IPS);
        }
        if !now && !then {
            kept_in_order(&mut errors, &path, after, before, &IP_FAMILIES);
        }
    }
    let at = path.child("loadBalancerClass");
    if after.text("type") == "LoadBalancer"
        && before.text("type") == "LoadBalancer"
        && after.text_opt("loadBalancerClass") != before.text_opt("loadBalancerClass")
    {
        let shown = shown_list(after, "loadBalancerClass");
        errors.push(FieldError::invalid(&at, shown, ONCE_SET));
    }
    load_balancer_class(&mut errors, &at, after);
    let port = |spec: &Object| {
        let local =
            spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local";
        local.then(|| spec.int("healthCheckNodePort").unwrap_or(0))
    };
    if let (Some(now), Some(then)) = (port(after), port(before))
        && now != then
    {
        errors.push(FieldError::forbidden(
            &path.child("healthCheckNodePort"),
            "field is immutable",
        ));
    }
    errors
}

const ONCE_SET: &str = "may not change once set";

/// A list whose first value is primary, and never changes; a second may come and go.
struct Ordered {
    field: &'static str,
    /// The list that decides whether the primary value is there, and stands in the complaints about it: upstream has one slip here.
    primary: &'static str,
    noun: &'static str,
    /// Whether a change of any value is one of the first in the path.
    at_first: bool,
}

const CLUSTER_IPS: Ordered = Ordered {
    field: "clusterIPs",
    primary: "clusterIPs",
    noun: "clusterIP",
    at_first: false,
};

const IP_FAMILIES: Ordered = Ordered {
    field: "ipFamilies",
    primary: "clusterIPs",
    noun: "ipFamily",
    at_first: true,
};

fn kept_in_order(
    errors: &mut ErrorList,
    path: &Path,
    after: &Object,
    before: &Object,
    list: &Ordered,
) {
    let now: Vec<&str> = after.texts(list.field).collect();
    let then: Vec<&str> = before.texts(list.field).collect();
    let at = path.child(list.field);
    let shown = |field: &str| shown_list(after, field);
    if now.len() == then.len() {
        for (index, _) in now
            .iter()
            .zip(&then)
            .enumerate()
            .filter(|(_, (n, t))| n != t)
        {
            let at = at.index(if list.at_first { 0 } else { index });
            errors.push(FieldError::invalid(&at, shown(list.field), ONCE_SET));
        }
        return;
    }
    let fewer = now.len() < then.len();
    if fewer && after.list(list.primary).is_empty() {
        let detail = format!("primary {} can not be unset", list.noun);
        errors.push(FieldError::invalid(&at.index(0), shown(list.field), detail));
    }
    if let (Some(now), Some(then)) = (now.first(), then.first())
        && now != then
    {
        errors.push(FieldError::invalid(
            &at.index(0),
            shown(list.primary),
            ONCE_SET,
        ));
    }
    if fewer && now.len() == 1 && after.text("ipFamilyPolicy") != "SingleStack" {
        errors.push(FieldError::invalid(
            &path.child("ipFamilyPolicy"),
            shown("ipFamilyPolicy"),
            format!(
                "must be set to 'SingleStack' when releasing the secondary {}",
                list.noun
            ),
        ));
    }
}
