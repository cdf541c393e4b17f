//! The certificate authorities that this machine trusts: one file, which distributions keep at different places; `SSL_CERT_FILE`
//! names another, as with OpenSSL and Go.

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::TlsError;

const FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The first file with a usable certificate. Certificates that cannot be read are passed over: bundles hold oddities.
pub(super) fn read() -> Result<RootCertStore, TlsError> {
    let chosen = std::env::var("SSL_CERT_FILE").ok();
    let files = chosen.as_deref().into_iter().chain(FILES.iter().copied());
    for file in files {
        let Ok(text) = std::fs::read(file) else {
            continue;
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(
            CertificateDer::pem_slice_iter(&text).filter_map(Result::ok),
        );
        if !roots.is_empty() {
            return Ok(roots);
        }
    }
    Err(TlsError::NoSystemRoots)
}
