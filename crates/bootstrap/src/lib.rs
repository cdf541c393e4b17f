//! What kubeadm does: the cluster's PKI and the kubeconfigs of its components and its administrator. And what it does not: a key for secrets at rest.
//!
//! File names are kubeadm's (<https://kubernetes.io/docs/setup/best-practices/certificates/>), so that whoever has run a
//! cluster finds `ca.crt`, `apiserver.key` and `sa.pub` where they look for them.

mod certificate;
mod encryption;
mod files;
mod kubeconfig;
mod pki;
mod request;
mod token;

pub use certificate::{Authority, Issued, Subject, Usage};
pub use encryption::ensure_encryption_config;
pub use files::write_atomically;
pub use kubeconfig::{KubeconfigParams, render as render_kubeconfig};
pub use pki::{Identity, Pki, PkiConfig, PkiError, certificate_der, certificate_life};
pub use request::{CertificateRequest, RequestedNames};
pub use token::{BOOTSTRAP_GROUP, BootstrapToken};
