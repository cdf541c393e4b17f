//! `certificates.k8s.io/v1` CertificateSigningRequest: a request for a certificate. Who asked is the registry's to write; `approval` says
//! yes or no in its conditions, `status` gives the certificate. What was wrong before (an older server let it in) may stay so.

use std::collections::BTreeSet;

use apimachinery::{
    Object,
    field::{ErrorList, FieldError, Path},
    gvk::{GroupVersionKind, GroupVersionResource},
    quote,
};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::status::{self, Allowed};
use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle, names,
    validate::one_of,
};

/// Its row.
pub static RESOURCE: Resource = Resource {
    gvr: GroupVersionResource::new("certificates.k8s.io", "v1", "certificatesigningrequests"),
    gvk: GroupVersionKind::new("certificates.k8s.io", "v1", "CertificateSigningRequest"),
    singular: "certificatesigningrequest",
    scope: Scope::Cluster,
    short_names: &["csr"],
    categories: &[],
    verbs: verbs::ALL,
    subresources: &[
        Subresource {
            name: "approval",
            gvk: GroupVersionKind::new("certificates.k8s.io", "v1", "CertificateSigningRequest"),
            verbs: verbs::GET_PATCH_UPDATE,
        },
        Subresource::status(GroupVersionKind::new(
            "certificates.k8s.io",
            "v1",
            "CertificateSigningRequest",
        )),
    ],
    storage: Some(Storage::plain("certificatesigningrequests")),
    strategy: &CertificateSigningRequestStrategy,
};

#[derive(Debug)]
struct CertificateSigningRequestStrategy;

impl Strategy for CertificateSigningRequestStrategy {
    fn default(&self, object: &mut Object) {
        object.ensure_object("spec");
        object.ensure_object("status");
    }
    fn prepare_for_create(&self, object: &mut Object) {
        object.remove("status");
        object.ensure_object("status");
    }
    fn prepare_for_update(&self, new: &mut Object, old: &Object) {
        // A request is what was signed for: it never changes.
        lifecycle::keep(new, old, &["spec", "status"]);
    }
    // What is requested cannot be changed by anybody.
    fn resets(&self, _has_status: bool) -> &'static [&'static str] {
        &["spec", "status"]
    }
    fn subresource_resets(&self, _name: &str) -> &'static [&'static str] {
        &["spec", "status.certificate"]
    }
    fn status_resets(&self) -> &'static [&'static str] {
        &["spec", "status.conditions"]
    }

    fn repeats_metadata_rules(&self) -> bool {
        false
    }
    fn validate(&self, object: &Object) -> ErrorList {
        let mut errors = Vec::new();
        validate_request(&mut errors, object, None);
        status::validate(&mut errors, object, None);
        errors
    }

    fn validate_update(&self, new: &Object, old: &Object) -> ErrorList {
        validate_change(new, old, Allowed::Nothing)
    }
    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        validate_change(new, old, Allowed::Certificate)
    }
    fn validate_subresource_update(&self, _name: &str, new: &Object, old: &Object) -> ErrorList {
        validate_change(new, old, Allowed::Approval)
    }
    fn prepare_for_status_update(&self, new: &mut Object, old: &Object) {
        lifecycle::keep_all_but_status(new, old);
        status::keep_approval(new, old);
    }
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        // Anything that can stand in a path.
        if prefix {
            names::path_segment_prefix(name)
        } else {
            names::path_segment_name(name)
        }
    }
    fn selectable_fields(&self, object: &Object) -> Vec<(&'static str, String)> {
        vec![(
            "spec.signerName",
            object
                .object("spec")
                .map_or("", |s| s.text("signerName"))
                .to_owned(),
        )]
    }
    fn is_selectable(&self, field: &str) -> bool {
        matches!(field, "metadata.name" | "spec.signerName")
    }
    fn prepare_for_subresource_update(&self, name: &str, new: &mut Object, old: &Object) {
        // Who approves says so in the conditions; the certificate is the signer's to write.
        let conditions = new
            .object("status")
            .and_then(|s| s.get("conditions"))
            .cloned();
        lifecycle::keep_all_but_status(new, old);
        lifecycle::keep(new, old, &["status"]);
        if name == "approval" {
            new.ensure_object("status")
                .set_or_remove("conditions", conditions);
        }
    }
}

/// The signer of requests from before signers had names.
const LEGACY_UNKNOWN: &str = "kubernetes.io/legacy-unknown";

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// An update through the object, `status` or `approval`.
fn validate_change(new: &Object, old: &Object, allowed: Allowed) -> ErrorList {
    let mut errors = crate::meta::validate_new(new, &RESOURCE);
    validate_request(&mut errors, new, Some(old));
    status::validate(&mut errors, new, Some(old));
    status::validate_change(&mut errors, new, old, allowed);
    errors.extend(crate::meta::validate_update(new, old));
    errors
}

fn has_unknown_usage(spec: &Object) -> bool {
    spec.texts("usages").any(|usage| !USAGES.contains(&usage))
}

fn has_duplicate_usage(spec: &Object) -> bool {
    let usages: Vec<&str> = spec.texts("usages").collect();
    (1..usages.len()).any(|index| usages[..index].contains(&usages[index]))
}

fn validate_request(errors: &mut ErrorList, object: &Object, old: Option<&Object>) {
    /// Ten minutes: a certificate that lives less is expired before it is used.
    const MIN_EXPIRATION_SECONDS: i64 = 600;
    let empty = Object::new();
    let spec = object.object("spec").unwrap_or(&empty);
    let path = Path::new("spec");
    // Nothing given is no bytes at all, which is shown otherwise than none.
    let request = spec.get("request").cloned().unwrap_or_default();
    let pem = STANDARD.decode(spec.text("request")).unwrap_or_default();
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE REQUEST-----") {
        errors.push(FieldError::invalid(
            &path.child("request"),
            request,
            "PEM block type must be CERTIFICATE REQUEST",
        ));
    }
    let usages = path.child("usages");
    if spec.list("usages").is_empty() {
        errors.push(FieldError::required(&usages, ""));
    }
    let before = old.and_then(|old| old.object("spec"));
    if !before.is_some_and(has_unknown_usage) {
        for (index, usage) in spec.texts("usages").enumerate() {
            one_of(errors, &usages.index(index), usage, USAGES);
        }
    }
    if !before.is_some_and(has_duplicate_usage) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for (index, usage) in spec.texts("usages").enumerate() {
            if !seen.insert(usage) {
                errors.push(FieldError::duplicate(&usages.index(index), usage));
            }
        }
    }
    let signer = spec.text("signerName");
    let at = path.child("signerName");
    if signer.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if signer == LEGACY_UNKNOWN
        && before.is_none_or(|before| before.text("signerName") != LEGACY_UNKNOWN)
    {
        errors.push(FieldError::invalid(
            &at,
            signer,
            "the legacy signerName is not allowed via this API version",
        ));
    } else {
        signer_name(errors, &at, signer);
    }
    if let Some(seconds) = spec
        .int("expirationSeconds")
        .filter(|s| *s < MIN_EXPIRATION_SECONDS)
    {
        errors.push(FieldError::invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
}

/// `domain/path`: labels of at least two levels, and subdomains.
fn signer_name(errors: &mut ErrorList, at: &Path, signer: &str) {
    const MAX_DOMAIN: usize = 253;
    const MAX_SIGNER: usize = MAX_DOMAIN + 1 + MAX_DOMAIN + 63 + 1;
    let Some((domain, path)) = signer.split_once('/').filter(|(_, p)| !p.contains('/')) else {
        errors.push(FieldError::invalid(
            at,
            signer,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        ));
        return;
    };
    if domain.len() > MAX_DOMAIN {
        errors.push(FieldError::too_long(at, MAX_DOMAIN));
    }
    labels(errors, at, domain, names::dns1123_label);
    if !domain.contains('.') {
        errors.push(FieldError::invalid(
            at,
            domain,
            "should be a domain with at least two segments separated by dots",
        ));
    }
    labels(errors, at, path, names::dns1123_subdomain);
    if signer.len() > MAX_SIGNER {
        errors.push(FieldError::too_long(at, MAX_SIGNER));
    }
}

/// The complaints about the first label that is not good: one is enough.
fn labels(errors: &mut ErrorList, at: &Path, whole: &str, rule: fn(&str) -> Vec<String>) {
    let Some(bad) = whole.split('.').find(|label| !rule(label).is_empty()) else {
        return;
    };
    for message in rule(bad) {
        let detail = format!("validating label {}: {message}", quote(bad));
        errors.push(FieldError::invalid(at, whole, detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_can_stand_in_a_path() {
        let complaints = |name| CertificateSigningRequestStrategy.validate_name(name, false);
        assert!(complaints("Any_Thing").is_empty());
        assert_eq!(complaints("Not_Valid%"), ["may not contain '%'"]);
    }
}
