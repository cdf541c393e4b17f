//! The rules of a Service, apart from its kind's file because they are many.
//!
//! Addresses and node ports are the allocators' to judge: here is what can be said without them.

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

/// A new or changed Service.
pub(super) fn validate(service: &Object) -> ErrorList {
    let mut errors = Vec::new();
    let empty = Object::new();
    let spec = service.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    let headless = is_headless(spec);
    let kind = spec.text("type");
    if spec.list("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    by_type(&mut errors, &path, spec);
    let many = spec.list("ports").len() > 1;
    let mut seen = Vec::new();
    for (index, port) in spec.objects("ports") {
        service_port(
            &mut errors,
            &path.child("ports").index(index),
            port,
            many,
            headless,
            &mut seen,
        );
    }
    errors.extend(meta::validate_labels(
        spec.object("selector"),
        &path.child("selector"),
    ));
    session_affinity(&mut errors, &path, spec);
    cluster_ips(&mut errors, &path, spec);
    external_ips(&mut errors, &path.child("externalIPs"), spec);
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
    source_ranges(&mut errors, &path.child("LoadBalancerSourceRanges"), spec);
    load_balancer(&mut errors, &path, spec);
    traffic_policies(&mut errors, &path, spec);
    errors
}

fn is_headless(spec: &Object) -> bool {
    spec.texts("clusterIPs")
        .next()
        .unwrap_or(spec.text("clusterIP"))
        == "None"
}

fn by_type(errors: &mut ErrorList, path: &Path, spec: &Object) {
    match spec.text("type") {
        "LoadBalancer" | "NodePort" => {
            if spec.text("type") == "LoadBalancer" {
                for (index, port) in spec.objects("ports") {
                    // The kubelet's own port is everyone's.
                    if port.int("port") == Some(10_250) {
                        errors.push(FieldError::invalid(
                            &path.child("ports").index(index),
                            10_250,
                            "may not expose port 10250 externally since it is used by kubelet",
                        ));
                    }
                }
            }
            if is_headless(spec) {
                errors.push(FieldError::invalid(
                    &path.child("clusterIPs").index(0),
                    "None",
                    format!(
                        "may not be set to 'None' for {} services",
                        spec.text("type")
                    ),
                ));
            }
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
    headless: bool,
    seen: &mut Vec<&'a str>,
) {
    let name = port.text("name");
    if name.is_empty() {
        if many {
            errors.push(FieldError::required(&at.child("name"), ""));
        }
    } else {
        text(errors, &at.child("name"), name, names::dns1123_label(name));
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        seen.push(name);
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
    // A headless service forwards nothing, and its target port is long known to be ignored.
    if !(headless && port.get("targetPort").is_none()) {
        ports::number_or_name(errors, &at.child("targetPort"), port.get("targetPort"));
    }
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
    let mut numbers = Vec::new();
    for (index, port) in spec.objects("ports") {
        let key = (port.text("protocol"), port.int("port").unwrap_or(0));
        if numbers.contains(&key) {
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
        numbers.push(key);
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
    match (affinity, spec.object("sessionAffinityConfig")) {
        ("ClientIP", config) => {
            let at = at.child("clientIP").child("timeoutSeconds");
            let seconds = config
                .and_then(|c| c.object("clientIP"))
                .and_then(|c| c.int("timeoutSeconds"));
            match seconds {
                None => errors.push(FieldError::required(&at, "")),
                Some(seconds) if !(1..=86_400).contains(&seconds) => {
                    errors.push(FieldError::invalid(
                        &at,
                        seconds,
                        "must be greater than 0 and less than 86400",
                    ));
                }
                Some(_) => {}
            }
        }
        ("None", Some(config)) => errors.push(FieldError::forbidden(
            &at,
            format!(
                "must not be set when session affinity is None: {}",
                Value::Object(config.clone())
            ),
        )),
        _ => {}
    }
}

fn cluster_ips(errors: &mut ErrorList, path: &Path, spec: &Object) {
    if spec.text("type") == "ExternalName" {
        return;
    }
    let at = path.child("clusterIPs");
    let ips: Vec<&str> = spec.texts("clusterIPs").collect();
    if let Some(first) = ips.first()
        && *first != spec.text("clusterIP")
    {
        errors.push(FieldError::invalid(
            &at.index(0),
            *first,
            "first value must match `clusterIP`",
        ));
    }
    let single = spec.text("clusterIP");
    let listed: Vec<&str> = if ips.is_empty() && !single.is_empty() {
        vec![single]
    } else {
        ips
    };
    for (index, ip) in listed.iter().enumerate() {
        if *ip == "None" {
            if listed.len() > 1 {
                errors.push(FieldError::invalid(
                    &at.index(index),
                    *ip,
                    "'None' must be the first and only value",
                ));
            }
            continue;
        }
        // An empty one is to be allocated.
        if !ip.is_empty() {
            text(errors, &at.index(index), ip, names::legacy_ip(ip));
        }
    }
    let mut seen = Vec::new();
    for (index, family) in spec.texts("ipFamilies").enumerate() {
        let at = path.child("ipFamilies").index(index);
        one_of(errors, &at, family, &["IPv4", "IPv6"]);
        if seen.contains(&family) {
            errors.push(FieldError::duplicate(&at, family));
        }
        seen.push(family);
    }
    if spec.has("ipFamilyPolicy") {
        one_of(
            errors,
            &path.child("ipFamilyPolicy"),
            spec.text("ipFamilyPolicy"),
            &["PreferDualStack", "RequireDualStack", "SingleStack"],
        );
    }
}

fn external_ips(errors: &mut ErrorList, path: &Path, spec: &Object) {
    for (index, ip) in spec.texts("externalIPs").enumerate() {
        let at = path.index(index);
        let messages = names::legacy_ip(ip);
        let good = messages.is_empty();
        text(errors, &at, ip, messages);
        if good && let Some(parsed) = names::parse_ip_sloppy(ip) {
            text(errors, &at, ip, non_special_ip(parsed));
        }
    }
}

fn source_ranges(errors: &mut ErrorList, path: &Path, spec: &Object) {
    if spec.list("loadBalancerSourceRanges").is_empty() {
        return;
    }
    if spec.text("type") != "LoadBalancer" {
        errors.push(FieldError::forbidden(
            path,
            "may only be used when `type` is 'LoadBalancer'",
        ));
    }
    for (index, range) in spec.texts("loadBalancerSourceRanges").enumerate() {
        let trimmed = range.trim();
        text(
            errors,
            &path.index(index),
            range,
            names::legacy_cidr(trimmed),
        );
    }
}

fn load_balancer(errors: &mut ErrorList, path: &Path, spec: &Object) {
    let balanced = spec.text("type") == "LoadBalancer";
    let allocate = path.child("allocateLoadBalancerNodePorts");
    if balanced && !spec.has("allocateLoadBalancerNodePorts") {
        errors.push(FieldError::required(&allocate, ""));
    }
    for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !balanced && spec.has(field) {
            errors.push(FieldError::forbidden(
                &path.child(field),
                "may only be used when `type` is 'LoadBalancer'",
            ));
        }
    }
    if let Some(class) = spec.text_opt("loadBalancerClass") {
        text(
            errors,
            &path.child("loadBalancerClass"),
            class,
            names::qualified_name(class),
        );
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
    if !needs_health && health != 0 {
        errors.push(FieldError::invalid(
            &path.child("healthCheckNodePort"),
            health,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        ));
    }
    if spec.text("type") != "ExternalName" {
        let at = path.child("internalTrafficPolicy");
        match spec.text("internalTrafficPolicy") {
            "" => errors.push(FieldError::required(&at, "")),
            policy => one_of(errors, &at, policy, &["Cluster", "Local"]),
        }
    }
    if spec.has("trafficDistribution") {
        one_of(
            errors,
            &path.child("trafficDistribution"),
            spec.text("trafficDistribution"),
            &["PreferClose", "PreferSameNode", "PreferSameZone"],
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
        let (now, then) = (
            after.texts("clusterIPs").next(),
            before.texts("clusterIPs").next(),
        );
        if let (Some(now), Some(then)) = (now, then)
            && !then.is_empty()
            && now != then
        {
            errors.push(FieldError::invalid(
                &path.child("clusterIPs").index(0),
                after.list("clusterIPs").to_vec(),
                "may not change once set",
            ));
        }
    }
    let (port, was) = (
        after.int("healthCheckNodePort").unwrap_or(0),
        before.int("healthCheckNodePort").unwrap_or(0),
    );
    if port != 0 && was != 0 && port != was {
        errors.push(FieldError::forbidden(
            &path.child("healthCheckNodePort"),
            "field is immutable",
        ));
    }
    if after.text("type") == "LoadBalancer"
        && before.text("type") == "LoadBalancer"
        && after.text_opt("loadBalancerClass") != before.text_opt("loadBalancerClass")
    {
        errors.push(FieldError::invalid(
            &path.child("loadBalancerClass"),
            after
                .get("loadBalancerClass")
                .cloned()
                .unwrap_or(Value::Null),
            "may not change once set",
        ));
    }
    errors
}
