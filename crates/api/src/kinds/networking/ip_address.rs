//! `networking.k8s.io/v1` IPAddress: an allocated address, named by itself; it belongs to one Service.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same},
    internal,
    kind::{Resource, Scope, Storage, Strategy, verbs},
    meta::IMMUTABLE,
    names,
    validate::{invalid_shown, required_text, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "ipaddresses"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "IPAddress"),
    singular: "ipaddress",
    scope: Scope::Cluster,
    short_names: &["ip"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[],
    storage: Some(Storage::plain("ipaddresses")),
    strategy: &IpAddressStrategy,
};

#[derive(Debug)]
struct IpAddressStrategy;

impl Strategy for IpAddressStrategy {
    fn validate_name(&self, name: &str, _prefix: bool) -> Vec<String> {
        // An address has one name: its canonical form.
        match name.parse::<std::net::IpAddr>() {
            Ok(ip) if ip.to_string() == name => Vec::new(),
            Ok(ip) => vec![format!("must be in canonical form (\"{ip}\")")],
            Err(_) => vec![names::NOT_AN_IP.to_owned()],
        }
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let at = Path::new("spec").child("parentRef");
        match object.object("spec").and_then(|s| s.object("parentRef")) {
            None => errors.push(FieldError::required(&at, "")),
            Some(parent) => {
                let group = parent.text("group");
                if !group.is_empty() {
                    let rule = names::dns1123_subdomain(group);
                    text(&mut errors, &at.child("group"), group, rule);
                }
                for field in ["resource", "name"] {
                    required_text(
                        &mut errors,
                        &at.child(field),
                        parent.text(field),
                        names::path_segment_name,
                    );
                }
                let namespace = parent.text("namespace");
                let rule = names::path_segment_name(namespace);
                text(&mut errors, &at.child("namespace"), namespace, rule);
            }
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = crate::meta::validate_renewed(new, old, &RESOURCE);
        let parent = |o: &Object| o.object("spec").and_then(|s| s.get("parentRef")).cloned();
        let (after, before) = (parent(new), parent(old));
        if !same(after.as_ref(), before.as_ref()) {
            let empty = Object::new();
            let ty = "io.k8s.api.networking.v1.IPAddressSpec";
            let spec = new.object("spec").unwrap_or(&empty);
            errors.push(invalid_shown(
                &Path::new("spec").child("parentRef"),
                &internal::shown_field(ty, spec, "parentRef"),
                IMMUTABLE,
            ));
        }
        errors
    }
}
