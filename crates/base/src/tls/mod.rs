//! TLS set-up, written once for everybody who serves or connects: rustls with `ring` as its one crypto provider, certificates and
//! keys in PEM.
//!
//! - [`ServingCertificate`]: a server's side, with a certificate that can be exchanged while serving.
//! - [`client_config`]: a client's side: [whom it trusts](Trust) and [who it is](Identity).
//! - [`client_verifier`]: whether a client's certificate was signed by an authority.

mod client;
mod peer;
mod serving;
mod system_roots;
mod version_1;

use std::{path::Path, sync::Arc};

use rustls::{
    RootCertStore, SupportedCipherSuite,
    crypto::{CryptoProvider, ring::cipher_suite},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

pub use client::{Identity, Trust, client_config};
pub use peer::{ClientVerifier, client_verifier};
pub use serving::{ServingCertificate, TlsVersion};

/// HTTP/2, then HTTP/1.1: what a server or client of the Kubernetes API offers (RFC 7301).
pub fn http_protocols() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It holds no certificate or key.
    #[error("{what} in PEM: {message}")]
    Pem {
        /// What was looked for.
        what: &'static str,
        /// What is wrong.
        message: String,
    },
    /// Certificates and key do not fit together.
    #[error("TLS: {0}")]
    Rustls(#[from] rustls::Error),
    /// This machine has no bundle of certificate authorities.
    #[error(
        "no certificate authorities found on this machine (install ca-certificates, or set SSL_CERT_FILE)"
    )]
    NoSystemRoots,
}

impl TlsError {
    fn pem(what: &'static str, message: impl std::fmt::Display) -> Self {
        Self::Pem {
            what,
            message: message.to_string(),
        }
    }
}

/// What is spoken, the preferred first, in Go's order for machines with instructions for AES: of two suites that differ in nothing else the
/// shorter key, whose encryption costs a quarter less.
static CIPHER_SUITES: [SupportedCipherSuite; 9] = [
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: CIPHER_SUITES.to_vec(),
        ..rustls::crypto::ring::default_provider()
    })
}

/// A file's bytes; the error names the file.
pub fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read {
        path: path.display().to_string(),
        source,
    })
}

/// A certificate and those that lead to its authority; at least one.
fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::pem("certificate", error))?;
    if chain.is_empty() {
        return Err(TlsError::pem("certificate", "there is none"));
    }
    Ok(chain)
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| TlsError::pem("private key", error))
}

/// A bundle of authorities; at least one.
fn authorities(bundle: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(bundle)? {
        roots.add(certificate)?;
    }
    Ok(roots)
}

/// The certificates of a bundle of authorities; at least one.
fn certificates(bundle: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bundle)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::pem("certificate authority", error))?;
    if certificates.is_empty() {
        return Err(TlsError::pem(
            "certificate authority",
            "no certificate found",
        ));
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests;
