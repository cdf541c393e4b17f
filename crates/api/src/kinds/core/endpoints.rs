//! `v1` Endpoints: the addresses behind a Service, in the older form. Deprecated for EndpointSlice, and still read by many.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    kinds::discovery::endpoint_slice::non_special_ip,
    names,
    validate::{one_of, ports, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("", "v1", "endpoints"),
    gvk: GroupVersionKind::new("", "v1", "Endpoints"),
    singular: "endpoints",
    scope: Scope::Namespaced,
    short_names: &["ep"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("services/endpoints")),
    strategy: &EndpointsStrategy,
};

#[derive(Debug)]
struct EndpointsStrategy;

impl Strategy for EndpointsStrategy {
    fn default(&self, object: &mut Object) {
        object.each_object("subsets", |subset| {
            subset.each_object("ports", |port| port.set_default_zero("protocol", "TCP"));
        });
    }
    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_subsets(&mut errors, object);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_new(new, &RESOURCE);
        // Addresses that were there before the rules stay.
        if new.get("subsets") != old.get("subsets") {
            validate_subsets(&mut errors, new);
        }
        errors
    }
    fn warnings(&self, new: &Object, _old: Option<&Object>) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, subset) in new.objects("subsets") {
            for list in ["addresses", "notReadyAddresses"] {
                for (i, address) in subset.objects(list) {
                    let at = Path::new("subsets").index(index).child(list).index(i);
                    let said = names::ip_warning(address.text("ip"));
                    warnings.extend(said.map(|said| format!("{}: {said}", at.child("ip"))));
                }
            }
        }
        warnings
    }
    fn deprecation(&self) -> Option<&'static str> {
        Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
    }
}

fn validate_subsets(errors: &mut ErrorList, endpoints: &Object) {
    for (index, subset) in endpoints.objects("subsets") {
        let at = Path::new("subsets").index(index);
        if subset.list("addresses").is_empty() && subset.list("notReadyAddresses").is_empty() {
            errors.push(FieldError::required(
                &at,
                "must specify `addresses` or `notReadyAddresses`",
            ));
        }
        for list in ["addresses", "notReadyAddresses"] {
            for (i, address) in subset.objects(list) {
                let at = at.child(list).index(i);
                let ip = address.text("ip");
                text(errors, &at.child("ip"), ip, names::legacy_ip(ip));
                if !address.text("hostname").is_empty() {
                    let name = address.text("hostname");
                    text(
                        errors,
                        &at.child("hostname"),
                        name,
                        names::dns1123_label(name),
                    );
                }
                if let Some(node) = address.text_opt("nodeName") {
                    text(
                        errors,
                        &at.child("nodeName"),
                        node,
                        names::dns1123_subdomain(node),
                    );
                }
                let complaints = match names::parse_ip_sloppy(ip) {
                    Some(parsed) => non_special_ip(parsed),
                    None => vec!["must be a valid IP address".to_owned()],
                };
                text(errors, &at.child("ip"), ip, complaints);
            }
        }
        let many = subset.list("ports").len() > 1;
        for (i, port) in subset.objects("ports") {
            let at = at.child("ports").index(i);
            let name = port.text("name");
            if name.is_empty() {
                if many {
                    errors.push(FieldError::required(&at.child("name"), ""));
                }
            } else {
                text(errors, &at.child("name"), name, names::dns1123_label(name));
            }
            ports::number(errors, &at.child("port"), port.int("port").unwrap_or(0));
            one_of(
                errors,
                &at.child("protocol"),
                port.text("protocol"),
                &["SCTP", "TCP", "UDP"],
            );
            if let Some(protocol) = port.text_opt("appProtocol") {
                let complaints = names::qualified_name(protocol);
                text(errors, &at.child("appProtocol"), protocol, complaints);
            }
        }
    }
}
