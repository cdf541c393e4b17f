//! `v1` Service: a stable name and address for pods. Its rules stand in `service_rules.rs`, its addresses are the allocators'.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::{Value, json};

use crate::{
    fields::{Fields, same_field},
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    kinds::core::service_rules as rules,
    lifecycle, names,
    validate::{one_of, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "services"),
    gvk: GroupVersionKind::new("", "v1", "Service"),
    singular: "service",
    scope: Scope::Namespaced,
    short_names: &["svc"],
    categories: &["all"],
    verbs: verbs::ALL,
    subresources: &[
        Subresource {
            name: "proxy",
            gvk: GroupVersionKind::new("", "v1", "ServiceProxyOptions"),
            verbs: verbs::PROXY,
        },
        Subresource::status(GroupVersionKind::new("", "v1", "Service")),
    ],
    storage: Some(Storage::plain("services/specs")),
    strategy: &ServiceStrategy,
};

#[derive(Debug)]
struct ServiceStrategy;

impl Strategy for ServiceStrategy {
    fn default(&self, object: &mut Object) {
        default(object.ensure_object("spec"));
        let balancer = object.ensure_object("status").ensure_object("loadBalancer");
        balancer.each_object("ingress", |ingress| {
            if !ingress.text("ip").is_empty() {
                ingress.set_default("ipMode", "VIP");
            }
        });
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.set("status", json!({"loadBalancer": {}}));
        normalize_cluster_ips(object, None);
        drop_unused_internal_traffic_policy(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
        normalize_cluster_ips(new, Some(old));
        patch_allocated_values(new, old);
        drop_type_dependent_fields(new, old);
        drop_unused_internal_traffic_policy(new);
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        let spec = |f| object.object("spec").map_or("", |s| s.text(f)).to_owned();
        vec![
            ("spec.clusterIP", spec("clusterIP")),
            ("spec.type", spec("type")),
        ]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(
            field,
            "metadata.name" | "metadata.namespace" | "spec.clusterIP" | "spec.type"
        )
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        // Relaxed since 1.36 (`RelaxedServiceNameValidation`).
        names::dns1123_label(&if prefix {
            names::mask_trailing_dash(name)
        } else {
            name.to_owned()
        })
    }

    fn validate(&self, object: &Object) -> ErrorList {
        rules::validate(object, None)
    }
    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = rules::validate_change(new, old);
        errors.extend(rules::validate(new, Some(old)));
        errors
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let path = Path::new("status").child("loadBalancer");
        let balancer = |service: &Object| -> Object {
            let status = service.object("status");
            status
                .and_then(|s| s.object("loadBalancer"))
                .cloned()
                .unwrap_or_default()
        };
        let spec = new.object("spec").unwrap_or(&empty);
        status_of_balancer(&mut errors, &path, &balancer(new), &balancer(old), spec);
        errors
    }
    fn warnings(&self, new: &Object, _old: Option<&Object>) -> Vec<String> {
        warnings(new)
    }
}

/// What is deprecated, without effect, or not written as it should be.
fn warnings(service: &Object) -> Vec<String> {
    let mut warnings = Vec::new();
    let empty = Object::new();
    let spec = service.object("spec").unwrap_or(&empty);
    if meta::annotation(service, rules::TOPOLOGY_HINTS).is_some() {
        warnings.push(format!(
            "annotation {} is deprecated, please use service.kubernetes.io/topology-mode instead",
            rules::TOPOLOGY_HINTS
        ));
    }
    let path = Path::new("spec");
    let addresses = |field: &str| -> Vec<String> {
        let at = path.child(field);
        let said = spec.texts(field).enumerate();
        said.filter_map(|(i, ip)| Some(format!("{}: {}", at.index(i), names::ip_warning(ip)?)))
            .collect()
    };
    if !matches!(spec.text("clusterIP"), "" | "None") {
        warnings.extend(addresses("clusterIPs"));
    }
    let kind = spec.text("type");
    let headless = kind == "ClusterIP" && spec.text("clusterIP") == "None";
    let external = !spec.list("externalIPs").is_empty();
    let balancer = spec.text("loadBalancerIP");
    say(
        &mut warnings,
        headless && !balancer.is_empty(),
        "loadBalancerIP is ignored for headless services",
    );
    say(
        &mut warnings,
        headless && external,
        "externalIPs is ignored for headless services",
    );
    say(
        &mut warnings,
        headless && spec.text("sessionAffinity") != "None",
        "SessionAffinity is ignored for headless services",
    );
    warnings.extend(addresses("externalIPs"));
    say(
        &mut warnings,
        external && !headless && kind != "ExternalName",
        "externalIPs is deprecated and may no longer be implemented in some clusters",
    );
    let said = names::ip_warning(balancer);
    warnings.extend(said.map(|said| format!("spec.loadBalancerIP: {said}")));
    let at = path.child("loadBalancerSourceRanges");
    for (index, range) in spec.texts("loadBalancerSourceRanges").enumerate() {
        for said in names::cidr_warnings(range) {
            warnings.push(format!("{}: {said}", at.index(index)));
        }
    }
    say(
        &mut warnings,
        kind == "ExternalName" && external,
        "externalIPs is ignored when spec.type is \"ExternalName\"",
    );
    say(
        &mut warnings,
        kind != "ExternalName" && !spec.text("externalName").is_empty(),
        "externalName is ignored when spec.type is not \"ExternalName\"",
    );
    say(
        &mut warnings,
        spec.text("trafficDistribution") == "PreferClose",
        "trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
    );
    warnings
}

/// Says something of a field, if it applies.
fn say(warnings: &mut Vec<String>, applies: bool, what: &str) {
    if applies {
        warnings.push(format!("spec.{what}"));
    }
}

fn default(spec: &mut Object) {
    spec.set_default_zero("sessionAffinity", "None");
    if spec.text("sessionAffinity") == "ClientIP" {
        spec.ensure_object("sessionAffinityConfig")
            .ensure_object("clientIP")
            .set_default("timeoutSeconds", CLIENT_IP_SERVICE_AFFINITY_SECONDS);
    } else if spec.text("sessionAffinity") == "None" {
        spec.remove("sessionAffinityConfig");
    }
    spec.set_default_zero("type", "ClusterIP");
    spec.each_object("ports", |port| {
        port.set_default_zero("protocol", "TCP");
        let number = port.int("port").unwrap_or(0);
        port.set_default_zero("targetPort", number);
    });
    if is_externally_accessible(spec) {
        spec.set_default_zero("externalTrafficPolicy", "Cluster");
    }
    if spec.text("type") != "ExternalName" {
        spec.set_default("internalTrafficPolicy", "Cluster");
    }
    if spec.text("type") == "LoadBalancer" {
        spec.set_default("allocateLoadBalancerNodePorts", true);
    }
}

/// Three hours.
const CLIENT_IP_SERVICE_AFFINITY_SECONDS: i64 = 10_800;

/// Whether traffic can come from outside: then `externalTrafficPolicy` has a meaning.
pub fn is_externally_accessible(spec: &Object) -> bool {
    match spec.text("type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !spec.list("externalIPs").is_empty(),
        _ => false,
    }
}

/// What is wrong with the addresses and families of a Service before any are taken for it.
pub fn validate_cluster_ips_related_fields(new: &Object, old: Option<&Object>) -> ErrorList {
    let empty = Object::new();
    let mut errors = ErrorList::new();
    let after = new.object("spec").unwrap_or(&empty);
    let before = old.and_then(|old| old.object("spec")).unwrap_or(&empty);
    rules::cluster_ips(&mut errors, &Path::new("spec"), after, before);
    errors
}

/// `clusterIP` and `clusterIPs[0]` are one thing under two names; whichever the client changed wins.
pub fn normalize_cluster_ips(new: &mut Object, old: Option<&Object>) {
    let spec = new.ensure_object("spec");
    let single = spec.text("clusterIP").to_owned();
    let Some(old) = old.and_then(|o| o.object("spec")) else {
        if !single.is_empty() && spec.list("clusterIPs").is_empty() {
            spec.set("clusterIPs", vec![Value::from(single)]);
        }
        return;
    };
    // A client that knows only the older field clears the one it does not know, or leaves it as it was.
    if old.text("clusterIP") != single {
        if single.is_empty() {
            if same_field(spec, old, "clusterIPs") {
                spec.remove("clusterIPs");
            }
        } else if same_field(spec, old, "clusterIPs") || spec.list("clusterIPs").is_empty() {
            spec.set("clusterIPs", vec![Value::from(single)]);
        }
    } else if spec.list("clusterIPs").is_empty() && !single.is_empty() {
        spec.set("clusterIPs", vec![Value::from(single)]);
    }
}

/// Takes over what was allocated before where the update leaves it open, so that a PUT of a manifest keeps addresses and ports.
pub fn patch_allocated_values(new: &mut Object, old: &Object) {
    let Some(old) = old.object("spec") else {
        return;
    };
    let spec = new.ensure_object("spec");
    let addressed = |spec: &Object| spec.text("type") != "ExternalName";
    if addressed(old) && addressed(spec) {
        if spec.text("clusterIP").is_empty() {
            spec.set_or_remove("clusterIP", old.get("clusterIP").cloned());
        }
        if spec.list("clusterIPs").is_empty() {
            spec.set_or_remove("clusterIPs", old.get("clusterIPs").cloned());
        }
    }
    let has_ports = |spec: &Object| match spec.text("type") {
        "NodePort" => true,
        "LoadBalancer" => spec.bool_opt("allocateLoadBalancerNodePorts") != Some(false),
        _ => false,
    };
    if has_ports(old) && has_ports(spec) {
        patch_node_ports(spec, old);
    }
    let is_checked = |spec: &Object| {
        spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
    };
    if is_checked(old) && is_checked(spec) && spec.int("healthCheckNodePort").unwrap_or(0) == 0 {
        let kept = old.get("healthCheckNodePort").cloned();
        spec.set_or_remove("healthCheckNodePort", kept);
    }
}

/// A port keeps its node port by its name, unless the update names that one for a port itself.
fn patch_node_ports(spec: &mut Object, old: &Object) {
    let node_port = |port: &Object| port.int("nodePort").unwrap_or(0);
    let named: Vec<i64> = spec.objects("ports").map(|(_, p)| node_port(p)).collect();
    let before: Vec<(&str, i64)> = old
        .objects("ports")
        .map(|(_, port)| (port.text("name"), node_port(port)))
        .collect();
    spec.each_object("ports", |port| {
        let of_name = before
            .iter()
            .rev()
            .find(|(name, _)| *name == port.text("name"));
        if let Some((_, kept)) = of_name
            && node_port(port) == 0
            && *kept != 0
            && !named.contains(kept)
        {
            port.set("nodePort", *kept);
        }
    });
}

/// An external name has no endpoints to choose from: no client sees such a policy of it. What is no policy stays, to be refused.
fn drop_unused_internal_traffic_policy(service: &mut Object) {
    let Some(spec) = service.object_mut("spec") else {
        return;
    };
    let policy = spec.text("internalTrafficPolicy");
    if spec.text("type") == "ExternalName" && matches!(policy, "Cluster" | "Local") {
        spec.remove("internalTrafficPolicy");
    }
}

/// When the type changes, what belonged to the old type goes, unless the client set it anew.
pub fn drop_type_dependent_fields(new: &mut Object, old: &Object) {
    let Some(old) = old.object("spec") else {
        return;
    };
    let spec = new.ensure_object("spec");
    let cluster = |s: &Object| s.text("type") != "ExternalName";
    let node_ports = |s: &Object| matches!(s.text("type"), "NodePort" | "LoadBalancer");
    if cluster(old) && !cluster(spec) {
        for field in [
            "clusterIP",
            "clusterIPs",
            "ipFamilies",
            "ipFamilyPolicy",
            "internalTrafficPolicy",
        ] {
            if same_field(spec, old, field) {
                spec.remove(field);
            }
        }
    }
    if node_ports(old) && !node_ports(spec) {
        let before: Vec<i64> = old
            .objects("ports")
            .filter_map(|(_, p)| p.int("nodePort"))
            .collect();
        let after: Vec<i64> = spec
            .objects("ports")
            .filter_map(|(_, p)| p.int("nodePort"))
            .collect();
        if before == after {
            spec.each_object("ports", |port| {
                port.remove("nodePort");
            });
        }
    }
    let balanced_no_more =
        old.text("type") == "LoadBalancer" && spec.text("type") != "LoadBalancer";
    if balanced_no_more {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if same_field(spec, old, field) {
                spec.remove(field);
            }
        }
    }
    let health =
        |s: &Object| s.text("type") == "LoadBalancer" && s.text("externalTrafficPolicy") == "Local";
    if health(old) && !health(spec) && same_field(spec, old, "healthCheckNodePort") {
        spec.remove("healthCheckNodePort");
    }
    if is_externally_accessible(old)
        && !is_externally_accessible(spec)
        && same_field(spec, old, "externalTrafficPolicy")
    {
        spec.remove("externalTrafficPolicy");
    }
    if balanced_no_more && let Some(status) = new.object_mut("status") {
        status.set("loadBalancer", Object::new());
    }
}

/// Addresses and names of a Service's ingress points.
fn status_of_balancer(
    errors: &mut ErrorList,
    path: &Path,
    balancer: &Object,
    before: &Object,
    spec: &Object,
) {
    let path = path.child("ingress");
    if spec.text("type") != "LoadBalancer" && !balancer.list("ingress").is_empty() {
        let detail = "may only be used when `spec.type` is 'LoadBalancer'";
        errors.push(FieldError::forbidden(&path, detail));
        return;
    }
    let known: Vec<&str> = before
        .objects("ingress")
        .map(|(_, ingress)| ingress.text("ip"))
        .collect();
    for (index, ingress) in balancer.objects("ingress") {
        let at = path.index(index);
        let ip = ingress.text("ip");
        if !ip.is_empty() && !known.contains(&ip) {
            text(errors, &at.child("ip"), ip, names::legacy_ip(ip));
        }
        let mode_at = at.child("ipMode");
        match (ingress.text_opt("ipMode"), ip.is_empty()) {
            (None, false) => errors.push(FieldError::required(
                &mode_at,
                "must be specified when `ip` is set",
            )),
            (None, true) => {}
            (Some(_), true) => errors.push(FieldError::forbidden(
                &mode_at,
                "may not be specified when `ip` is not set",
            )),
            (Some(mode), false) => one_of(errors, &mode_at, mode, &["Proxy", "VIP"]),
        }
        host_name(errors, &at.child("hostname"), ingress.text("hostname"));
    }
}

/// Addresses and names of an Ingress's ingress points.
pub fn load_balancer_status(errors: &mut ErrorList, path: &Path, balancer: Option<&Object>) {
    for (index, ingress) in balancer.into_iter().flat_map(|b| b.objects("ingress")) {
        let at = path.child("ingress").index(index);
        let ip = ingress.text("ip");
        if !ip.is_empty() {
            text(errors, &at.child("ip"), ip, names::legacy_ip(ip));
        }
        host_name(errors, &at.child("hostname"), ingress.text("hostname"));
    }
}

fn host_name(errors: &mut ErrorList, path: &Path, name: &str) {
    if name.is_empty() {
        return;
    }
    text(errors, path, name, names::dns1123_subdomain(name));
    if names::parse_ip_sloppy(name).is_some() {
        let detail = "must be a DNS name, not an IP address";
        errors.push(FieldError::invalid(path, name, detail));
    }
}
