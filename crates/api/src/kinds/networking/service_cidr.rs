//! `networking.k8s.io/v1` ServiceCIDR: a range from which Services get addresses.

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    go,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    internal,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle, meta, names,
    validate::{invalid_shown, text},
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("networking.k8s.io", "v1", "servicecidrs"),
    gvk: GroupVersionKind::new("networking.k8s.io", "v1", "ServiceCIDR"),
    singular: "servicecidr",
    scope: Scope::Cluster,
    short_names: &[],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[Subresource::status(GroupVersionKind::new(
        "networking.k8s.io",
        "v1",
        "ServiceCIDR",
    ))],
    storage: Some(Storage::plain("servicecidrs")),
    strategy: &ServiceCidrStrategy,
};

#[derive(Debug)]
struct ServiceCidrStrategy;

impl Strategy for ServiceCidrStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep(new, old, &["status"]);
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["metadata", "spec"]
    }

    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let cidrs = cidrs(object);
        let path = Path::new("spec").child("cidrs");
        if cidrs.is_empty() {
            errors.push(FieldError::required(&path, "at least one CIDR required"));
            return errors;
        }
        if cidrs.len() > 2 {
            let shown = format!("{{\"CIDRs\":{}}}", go::json(&cidrs.into()));
            errors.push(invalid_shown(&path, &shown, "may only hold up to 2 values"));
            return errors;
        }
        for (index, cidr) in cidrs.iter().enumerate() {
            text(
                &mut errors,
                &path.index(index),
                cidr,
                names::strict_cidr(cidr),
            );
        }
        let family = |cidr: &str| names::parse_cidr_sloppy(cidr).map(|(ip, _)| ip.is_ipv4());
        if let [first, second] = cidrs[..]
            && family(first).is_some_and(|f| family(second) == Some(f))
        {
            errors.push(FieldError::invalid(
                &path,
                cidrs,
                "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ));
        }
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        let mut errors = Vec::new();
        let empty = Object::new();
        let path = Path::new("spec").child("cidrs");
        let (after, before) = (cidrs(new), cidrs(old));
        // A second family may be added, what is there stays.
        let added = before.len() == 1 && after.len() == 2;
        if before.len() != after.len() && !added {
            let spec = new.object("spec").unwrap_or(&empty);
            errors.push(invalid_shown(
                &path,
                &internal::shown_field("io.k8s.api.networking.v1.ServiceCIDRSpec", spec, "cidrs"),
                meta::IMMUTABLE,
            ));
            return errors;
        }
        for (index, (now, was)) in after.iter().zip(&before).enumerate() {
            if now != was {
                errors.push(FieldError::invalid(
                    &path.index(index),
                    *now,
                    meta::IMMUTABLE,
                ));
            }
        }
        if added {
            errors.extend(self.validate(new));
        }
        errors
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        lifecycle::reset_metadata_for_status(new, old);
    }
}

fn cidrs(object: &Object) -> Vec<&str> {
    let spec = object.object("spec").into_iter();
    spec.flat_map(|spec| spec.texts("cidrs")).collect()
}
