//! `networking.k8s.io/v1` IPAddress: an allocated address, named by itself; it belongs to one Service.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::{Fields, same},
    kind::{Resource, Scope, Storage, Strategy, verbs},
    names,
    validate::{invalid_shown, required_text},
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

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let at = Path::new("spec").child("parentRef");
        match object.object("spec").and_then(|s| s.object("parentRef")) {
            None => errors.push(FieldError::required(&at, "")),
            Some(parent) => {
                for field in ["resource", "name"] {
                    required_text(
                        &mut errors,
                        &at.child(field),
                        parent.text(field),
                        names::path_segment_name,
                    );
                }
            }
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let parent = |o: &Object| o.object("spec").and_then(|s| s.get("parentRef")).cloned();
        let (after, before) = (parent(new), parent(old));
        if same(after.as_ref(), before.as_ref()) {
            return Vec::new();
        }
        let after = after
            .and_then(|v| v.as_object().cloned())
            .unwrap_or_default();
        let shown = format!(
            "{{\"Group\":{:?},\"Resource\":{:?},\"Namespace\":{:?},\"Name\":{:?}}}",
            after.text("group"),
            after.text("resource"),
            after.text("namespace"),
            after.text("name")
        );
        vec![invalid_shown(
            &Path::new("spec").child("parentRef"),
            &shown,
            "field is immutable",
        )]
    }
}
