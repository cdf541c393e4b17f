//! From a kubeconfig's words to a rustls client configuration.

use base::tls::{self, Identity, Trust};
use rustls::ClientConfig;

use crate::{config::TlsConfig, error::BoxError};

/// Reads all files and makes a configuration that offers HTTP/2, then HTTP/1.1. Without an authority this machine's are trusted.
pub(crate) fn client_config(config: &TlsConfig) -> Result<ClientConfig, BoxError> {
    let authority = config.ca.as_ref().map(|ca| ca.read()).transpose()?;
    let trust = match &authority {
        _ if config.insecure_skip_verify => Trust::Anything,
        Some(bundle) => Trust::Authorities(bundle),
        None => Trust::System,
    };
    let identity = match &config.client_identity {
        None => None,
        Some((certificate, key)) => Some((certificate.read()?, key.read()?)),
    };
    let identity = identity
        .as_ref()
        .map(|(certificate, key)| Identity { certificate, key });
    let mut made = tls::client_config(trust, identity)?;
    made.alpn_protocols = tls::http_protocols();
    Ok(made)
}
