//! `networking.k8s.io/v1` NetworkPolicy: which traffic pods may have.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};
use serde_json::json;

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle, names,
    validate::{one_of, ports, selectors, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "networkpolicies"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "NetworkPolicy"),
    singular: "networkpolicy",
    scope: Scope::Namespaced,
    short_names: &["netpol"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("networkpolicies")),
    strategy: &NetworkPolicyStrategy,
};

#[derive(Debug)]
struct NetworkPolicyStrategy;

impl Strategy for NetworkPolicyStrategy {
    fn default(&self, object: &mut Object) {
        let spec = object.ensure_object("spec");
        for direction in ["ingress", "egress"] {
            spec.each_object(direction, |rule| {
                rule.each_object("ports", |port| port.set_default("protocol", "TCP"));
            });
        }
        // The PodSelector is always written; an empty one means all pods.
        spec.ensure_object("podSelector");
        if spec.list("policyTypes").is_empty() {
            let egress = !spec.list("egress").is_empty();
            let types = if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            };
            spec.set("policyTypes", types);
        }
    }
    fn prepare_for_create(&self, object: &mut Object) {
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation_by_reflection(new, old, &["spec"]);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_policy(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, _old: &Object) -> ErrorList {
        self.validate(new)
    }
}

fn validate_policy(errors: &mut ErrorList, policy: &Object) {
    let empty = Object::new();
    let spec = policy.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    selectors::label_selector(
        errors,
        &path.child("podSelector"),
        spec.object("podSelector").unwrap_or(&empty),
    );
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (index, rule) in spec.objects(direction) {
            let at = path.child(direction).index(index);
            for (i, port) in rule.objects("ports") {
                policy_port(errors, &at.child("ports").index(i), port);
            }
            for (i, peer) in rule.objects(peers) {
                policy_peer(errors, &at.child(peers).index(i), peer);
            }
        }
    }
    if spec.list("policyTypes").len() > 2 {
        errors.push(FieldError::invalid(
            &path.child("policyTypes"),
            spec.list("policyTypes").to_vec(),
            "may not specify more than two policyTypes",
        ));
        return;
    }
    for (index, kind) in spec.texts("policyTypes").enumerate() {
        one_of(
            errors,
            &path.child("policyTypes").index(index),
            kind,
            &["Ingress", "Egress"],
        );
    }
}

fn policy_port(errors: &mut ErrorList, path: &Path, port: &Object) {
    if let Some(protocol) = port.text_opt("protocol") {
        one_of(
            errors,
            &path.child("protocol"),
            protocol,
            &["TCP", "UDP", "SCTP"],
        );
    }
    let end = port.int("endPort");
    let at = path.child("endPort");
    match port.value("port") {
        Some(number) if number.is_number() => {
            ports::number_or_name(errors, &path.child("port"), Some(number));
            if let Some(end) = end {
                if end < number.as_i64().unwrap_or(0) {
                    errors.push(FieldError::invalid(
                        &at,
                        number.clone(),
                        "must be greater than or equal to `port`",
                    ));
                }
                ports::number(errors, &at, end);
            }
        }
        Some(name) => {
            if let Some(end) = end {
                errors.push(FieldError::invalid(
                    &at,
                    end,
                    "may not be specified when `port` is non-numeric",
                ));
            }
            ports::number_or_name(errors, &path.child("port"), Some(name));
        }
        None => {
            if let Some(end) = end {
                errors.push(FieldError::invalid(
                    &at,
                    end,
                    "may not be specified when `port` is not specified",
                ));
            }
        }
    }
}

fn policy_peer(errors: &mut ErrorList, path: &Path, peer: &Object) {
    let mut found = 0;
    for name in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = peer.object(name) {
            found += 1;
            selectors::label_selector(errors, &path.child(name), selector);
        }
    }
    if let Some(block) = peer.object("ipBlock") {
        found += 1;
        ip_block(errors, &path.child("ipBlock"), block);
    }
    if found == 0 {
        errors.push(FieldError::required(path, "must specify a peer"));
    } else if found > 1 && peer.has("ipBlock") {
        errors.push(FieldError::forbidden(
            path,
            "may not specify both ipBlock and another peer",
        ));
    }
}

fn ip_block(errors: &mut ErrorList, path: &Path, block: &Object) {
    let cidr = block.text("cidr");
    if cidr.is_empty() {
        errors.push(FieldError::required(&path.child("cidr"), ""));
        return;
    }
    text(errors, &path.child("cidr"), cidr, names::legacy_cidr(cidr));
    let Some((network, bits)) = names::parse_cidr_sloppy(cidr) else {
        return;
    };
    let network = names::network_of(network, bits);
    for (index, except) in block.texts("except").enumerate() {
        let at = path.child("except").index(index);
        text(errors, &at, except, names::legacy_cidr(except));
        if let Some((inner, inner_bits)) = names::parse_cidr_sloppy(except)
            && (inner_bits <= bits || names::network_of(inner, bits) != network)
        {
            errors.push(FieldError::invalid(
                &at,
                except,
                format!("must be a strict subset of `{}`", path.child("cidr")),
            ));
        }
    }
}
