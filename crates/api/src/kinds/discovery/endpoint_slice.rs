//! `discovery.k8s.io/v1` EndpointSlice: addresses behind a Service, a hundred or so at a time.

use std::{collections::BTreeSet, net::IpAddr};

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    meta,
};
use serde_json::Value;

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    lifecycle, names,
    validate::{fully_qualified_domain_name, one_of, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("discovery.k8s.io", "v1", "endpointslices"),
    gvk: GroupVersionKind::new("discovery.k8s.io", "v1", "EndpointSlice"),
    singular: "endpointslice",
    scope: Scope::Namespaced,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("endpointslices")),
    strategy: &EndpointSliceStrategy,
};

#[derive(Debug)]
struct EndpointSliceStrategy;

impl Strategy for EndpointSliceStrategy {
    fn default(&self, object: &mut Object) {
        object.each_object("endpoints", |endpoint| {
            endpoint.ensure_object("conditions");
        });
        object.each_object("ports", |port| {
            port.set_default("name", "");
            port.set_default("protocol", "TCP");
        });
        object.set_default("endpoints", Value::Null);
        object.set_default("ports", Value::Null);
    }
    fn prepare_for_create(&self, object: &mut Object) {
        drop_topology(object);
        lifecycle::first_generation(object);
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::bump_generation(new, old, &["endpoints", "ports", "addressType"]);
        if meta::labels(new) != meta::labels(old) && meta::generation(new) == meta::generation(old)
        {
            meta::set_generation(new, meta::generation(old) + 1);
        }
        drop_topology(new);
    }

    fn repeats_creation_rules(&self) -> bool {
        true
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_slice(&mut errors, object, None);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_slice(&mut errors, new, Some(old));
        errors.extend(crate::meta::immutable_field(
            "io.k8s.api.discovery.v1.EndpointSlice",
            new,
            old,
            "addressType",
            &Path::default(),
        ));
        errors
    }
    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn warnings(&self, new: &Object, old: Option<&Object>) -> Vec<String> {
        if old.is_none() && new.text("addressType") == "FQDN" {
            vec!["spec.addressType: FQDN endpoints are deprecated".to_owned()]
        } else {
            Vec::new()
        }
    }
}

/// Read-only since v1: clients of older versions saw it. Who sends it all the same has changed the slice.
fn drop_topology(slice: &mut Object) {
    slice.each_object("endpoints", |endpoint| {
        endpoint.remove("deprecatedTopology");
    });
}

fn validate_slice(errors: &mut ErrorList, slice: &Object, old: Option<&Object>) {
    let kind = slice.text("addressType");
    let at = Path::new("addressType");
    if kind.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        one_of(errors, &at, kind, &["FQDN", "IPv4", "IPv6"]);
    }
    validate_ports(errors, slice);
    // Endpoints that stay as they were are not judged again.
    if old.is_none_or(|old| !internal::same_field_of_kind(slice, old, "endpoints")) {
        validate_endpoints(errors, slice, kind);
    }
}

fn validate_ports(errors: &mut ErrorList, slice: &Object) {
    const MAX_PORTS: usize = 20_000;
    if slice.list("ports").len() > MAX_PORTS {
        errors.push(FieldError::too_many(
            &Path::new("ports"),
            slice.list("ports").len(),
            MAX_PORTS,
        ));
        return;
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for (index, port) in slice.objects("ports") {
        let at = Path::new("ports").index(index);
        let name = port.text("name");
        if !name.is_empty() {
            text(errors, &at.child("name"), name, names::dns1123_label(name));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
        let protocol = port.text_opt("protocol").unwrap_or_default();
        one_of(
            errors,
            &at.child("protocol"),
            protocol,
            &["SCTP", "TCP", "UDP"],
        );
        if let Some(protocol) = port.text_opt("appProtocol") {
            let rule = names::qualified_name(protocol);
            text(errors, &at.child("appProtocol"), protocol, rule);
        }
    }
}

fn validate_endpoints(errors: &mut ErrorList, slice: &Object, kind: &str) {
    const MAX_ADDRESSES: usize = 100;
    const MAX_ENDPOINTS: usize = 1000;
    if slice.list("endpoints").len() > MAX_ENDPOINTS {
        errors.push(FieldError::too_many(
            &Path::new("endpoints"),
            slice.list("endpoints").len(),
            MAX_ENDPOINTS,
        ));
        return;
    }
    for (index, endpoint) in slice.objects("endpoints") {
        let at = Path::new("endpoints").index(index);
        let addresses = at.child("addresses");
        let count = endpoint.list("addresses").len();
        if count == 0 {
            errors.push(FieldError::required(
                &addresses,
                "must contain at least 1 address",
            ));
        } else if count > MAX_ADDRESSES {
            errors.push(FieldError::too_many(&addresses, count, MAX_ADDRESSES));
        }
        for (i, address) in endpoint.texts("addresses").enumerate() {
            match kind {
                "FQDN" => fully_qualified_domain_name(errors, &addresses.index(i), address),
                "IPv4" | "IPv6" => ip(errors, &addresses, i, kind, address),
                _ => {}
            }
        }
        if let Some(name) = endpoint.text_opt("nodeName") {
            text(
                errors,
                &at.child("nodeName"),
                name,
                names::dns1123_subdomain(name),
            );
        }
        if let Some(name) = endpoint.text_opt("hostname") {
            text(
                errors,
                &at.child("hostname"),
                name,
                names::dns1123_label(name),
            );
        }
        hints(errors, &at.child("hints"), endpoint);
    }
}

/// An address of the slice's family that can lead to another machine.
fn ip(errors: &mut ErrorList, addresses: &Path, index: usize, kind: &str, address: &str) {
    let at = addresses.index(index);
    let messages = if kind == "IPv4" {
        names::legacy_ip(address)
    } else {
        names::strict_ip(address)
    };
    let parsed = names::parse_ip_sloppy(address).filter(|_| messages.is_empty());
    text(errors, &at, address, messages);
    let Some(parsed) = parsed else {
        return;
    };
    if parsed.is_ipv4() != (kind == "IPv4") {
        errors.push(FieldError::invalid(
            addresses,
            address,
            format!("must be an {kind} address"),
        ));
    }
    text(errors, &at, address, non_special_ip(parsed));
}

fn hints(errors: &mut ErrorList, path: &Path, endpoint: &Object) {
    const MAX_HINTS: usize = 8;
    let Some(hints) = endpoint.object("hints") else {
        return;
    };
    for (list, rule) in [
        ("forZones", names::label_value as fn(&str) -> Vec<String>),
        ("forNodes", names::dns1123_subdomain),
    ] {
        let at = path.child(list);
        if hints.list(list).len() > MAX_HINTS {
            errors.push(FieldError::too_many(&at, hints.list(list).len(), MAX_HINTS));
            return;
        }
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (index, hint) in hints.objects(list) {
            let name = hint.text("name");
            let at = at.index(index).child("name");
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&at, name));
            }
            text(errors, &at, name, rule(name));
        }
    }
}

/// What no endpoint can be: unspecified, loopback, link-local.
pub fn non_special_ip(ip: IpAddr) -> Vec<String> {
    let mut messages = Vec::new();
    let mut complain = |m: &str| messages.push(m.to_owned());
    if ip.is_unspecified() {
        complain(&format!("may not be unspecified ({ip})"));
    }
    if ip.is_loopback() {
        complain("may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (link_local, link_local_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (
            v6.segments()[0] & 0xffc0 == 0xfe80,
            v6.segments()[0] & 0xff0f == 0xff02,
        ),
    };
    if link_local {
        complain("may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        complain("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
    messages
}
