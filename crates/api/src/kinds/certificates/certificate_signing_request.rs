//! `certificates.k8s.io/v1` CertificateSigningRequest.

use apimachinery::{
    Object,
    gvk::{GroupVersionKind, GroupVersionResource},
};

use crate::{
    fields::Fields,
    kind::{Resource, Scope, Storage, Strategy, Subresource, verbs},
    lifecycle,
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
        lifecycle::keep(new, old, &["status"]);
    }
}
