//! A server's side: one certificate, which can be exchanged while serving, and any client certificate, if the client has one.

use std::{path::Path, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{TlsError, chain, http_protocols, peer::AnyPeer, private_key, provider, read};

/// The oldest version of TLS that a server speaks. What is older than 1.2 is spoken by nobody here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// RFC 5246.
    #[default]
    Tls12,
    /// RFC 8446.
    Tls13,
}

static TLS13_ALONE: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

impl TlsVersion {
    fn and_later(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Self::Tls12 => rustls::ALL_VERSIONS,
            Self::Tls13 => TLS13_ALONE,
        }
    }
}

impl std::str::FromStr for TlsVersion {
    type Err = String;

    /// By the names that upstream's `--tls-min-version` takes.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => Ok(Self::Tls12),
            "VersionTLS13" => Ok(Self::Tls13),
            other => Err(format!("unknown tls version {other:?}")),
        }
    }
}

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
        self.server_config_since(TlsVersion::default())
    }

    /// The same, for clients that speak this version of TLS or a later one.
    pub fn server_config_since(
        self: &Arc<Self>,
        minimum: TlsVersion,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(minimum.and_later())?
            .with_client_cert_verifier(Arc::new(AnyPeer(Arc::clone(&self.provider))))
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = http_protocols();
        // As upstream: what is cheapest to serve, whichever the client names first.
        config.ignore_client_order = true;
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
