//! A server's side: one certificate, which can be exchanged while serving, and any client certificate, if the client has one.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{TlsError, chain, http_protocols, peer::AnyPeer, private_key, provider, read};

/// The serving certificate; it can be replaced while serving.
#[derive(Debug)]
pub struct ServingCertificate {
    current: ArcSwap<CertifiedKey>,
    provider: Arc<CryptoProvider>,
}

impl ServingCertificate {
    /// Of a chain and a key in PEM.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let provider = provider();
        Ok(Self {
            current: ArcSwap::from_pointee(certified(certificate, key, &provider)?),
            provider,
        })
    }

    /// Of two files.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Self::from_pem(&read(certificate)?, &read(key)?)
    }

    /// Serves another certificate from now on. After an error the old one is still served.
    pub fn replace(&self, certificate: &[u8], key: &[u8]) -> Result<(), TlsError> {
        let certified = certified(certificate, key, &self.provider)?;
        self.current.store(Arc::new(certified));
        Ok(())
    }

    /// The configuration of a listener that serves it over HTTP/2 and HTTP/1.1.
    pub fn server_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(Arc::new(AnyPeer(Arc::clone(&self.provider))))
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = http_protocols();
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for ServingCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn certified(
    certificate: &[u8],
    key: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let certified = CertifiedKey::from_der(chain(certificate)?, private_key(key)?, provider)?;
    Ok(certified)
}
