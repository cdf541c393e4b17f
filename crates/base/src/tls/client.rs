//! A client's side: whom it trusts, and who it is.

use std::sync::Arc;

use rustls::{
    ClientConfig,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    TlsError, authorities, chain, peer::AnyPeer, private_key, provider, system_roots, version_1,
};

/// Whose certificates a client takes.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Those signed by an authority of this bundle, in PEM, for the name that is called.
    Authorities(&'a [u8]),
    /// Those signed by an authority that this machine trusts, for the name that is called.
    System,
    /// Any. Where upstream does not verify (probes, proxies to what users run), or the user asked for it.
    Anything,
}

/// A client's certificate with its chain, and its key, in PEM.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    /// The certificate first, then those that lead to its authority.
    pub certificate: &'a [u8],
    /// The private key.
    pub key: &'a [u8],
}

/// TLS 1.2 and 1.3 with these. No application protocol is offered; see [`super::http_protocols`].
pub fn client_config(
    trust: Trust<'_>,
    identity: Option<Identity<'_>>,
) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match trust {
        Trust::Authorities(bundle) => builder.with_root_certificates(authorities(bundle)?),
        Trust::System => builder.with_root_certificates(system_roots::read()?),
        Trust::Anything => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyPeer(Arc::clone(&provider)))),
    };
    Ok(match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { certificate, key }) => {
            let (chain, key) = (chain(certificate)?, private_key(key)?);
            if chain.first().and_then(version_1::parse).is_some() {
                // rustls cannot compare such a certificate with its key.
                let key = provider.key_provider.load_private_key(key)?;
                let certified = CertifiedKey::new(chain, key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            } else {
                builder.with_client_auth_cert(chain, key)?
            }
        }
    })
}
