//! `certificates.k8s.io/v1` CertificateSigningRequest.

use apimachinery::gvk::{GroupVersionKind, GroupVersionResource};

use crate::kind::{Resource, Scope, Storage, Strategy, Subresource, verbs};

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

impl Strategy for CertificateSigningRequestStrategy {}
