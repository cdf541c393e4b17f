//! How the server reaches kubelets: address and port from the Node object, TLS by `--kubelet-certificate-authority`, itself by
//! `--kubelet-client-certificate` and `--kubelet-client-key`.
//!
//! Files are read at every connection, so that rotated certificates are taken up.

use std::{path::PathBuf, sync::Arc};

use apimachinery::{Object, status::Status};
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::Location;
use crate::lookup;

/// The port of a kubelet whose Node names none.
const DEFAULT_PORT: i64 = 10250;

/// The `--kubelet-*` flags.
#[derive(Clone, Debug)]
pub struct KubeletClientConfig {
    /// `--kubelet-client-certificate` and `--kubelet-client-key`.
    pub client_identity: Option<(PathBuf, PathBuf)>,
    /// `--kubelet-certificate-authority`; without it kubelets' certificates are not verified, as upstream has it.
    pub certificate_authority: Option<PathBuf>,
    /// `--kubelet-preferred-address-types`.
    pub preferred_address_types: Vec<String>,
}

impl Default for KubeletClientConfig {
    /// Addresses in the order that kubeadm sets: an address needs no DNS, a host name mostly does.
    fn default() -> Self {
        let types = [
            "InternalIP",
            "ExternalIP",
            "Hostname",
            "InternalDNS",
            "ExternalDNS",
        ];
        Self {
            client_identity: None,
            certificate_authority: None,
            preferred_address_types: types.map(str::to_owned).to_vec(),
        }
    }
}

/// Finds kubelets.
pub(super) struct KubeletClient {
    config: KubeletClientConfig,
}

/// One node's kubelet.
#[derive(Debug)]
pub(super) struct Kubelet {
    pub(super) host: String,
    pub(super) port: String,
}

impl KubeletClient {
    pub(super) fn new(config: KubeletClientConfig) -> Self {
        Self { config }
    }

    /// Address and port of a node's kubelet.
    pub(super) fn of_node(&self, node: &Object) -> Result<Kubelet, Status> {
        let addresses: Vec<(&str, &str)> = lookup::objects(node, &["status", "addresses"])
            .map(|address| {
                (
                    lookup::text(address, &["type"]),
                    lookup::text(address, &["address"]),
                )
            })
            .collect();
        let preferred = self
            .config
            .preferred_address_types
            .iter()
            .find_map(|wanted| {
                addresses
                    .iter()
                    .find(|(sort, address)| sort == wanted && !address.is_empty())
            });
        let Some((_, host)) = preferred else {
            let known: Vec<String> = addresses
                .iter()
                .map(|(sort, address)| format!("{{{sort} {address}}}"))
                .collect();
            let message = format!(
                "no preferred addresses found; known addresses: [{}]",
                known.join(" ")
            );
            return Err(Status::unclassified(message));
        };
        let port = lookup::number(
            node,
            &["status", "daemonEndpoints", "kubeletEndpoint", "Port"],
        )
        .filter(|port| *port > 0)
        .unwrap_or(DEFAULT_PORT);
        Ok(Kubelet {
            host: (*host).to_owned(),
            port: port.to_string(),
        })
    }

    /// A path of a kubelet, over TLS with the server's own identity.
    pub(super) fn location(
        &self,
        kubelet: Kubelet,
        path: String,
        query: String,
        verify: bool,
    ) -> Result<Location, Status> {
        let tls = self.tls(verify).map_err(|error| {
            tracing::error!(%error, "cannot read what is needed to reach kubelets");
            Status::internal(format!("cannot set up TLS towards the kubelet: {error}"))
        })?;
        Ok(Location {
            host: kubelet.host,
            port: kubelet.port,
            path,
            query,
            tls: Some(Arc::new(tls)),
        })
    }

    fn tls(&self, verify: bool) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = match &self.config.certificate_authority {
            Some(path) if verify => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(&std::fs::read(path)?) {
                    roots.add(certificate?)?;
                }
                builder.with_root_certificates(roots)
            }
            _ => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(provider))),
        };
        Ok(match &self.config.client_identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_slice_iter(&std::fs::read(certificate)?)
                    .collect::<Result<Vec<_>, _>>()?;
                let key = PrivateKeyDer::from_pem_slice(&std::fs::read(key)?)?;
                builder.with_client_auth_cert(chain, key)?
            }
        })
    }
}

#[derive(Debug, thiserror::Error)]
enum TlsError {
    #[error(transparent)]
    Read(#[from] std::io::Error),
    #[error(transparent)]
    Pem(#[from] rustls::pki_types::pem::Error),
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// TLS towards what users run behind `https:NAME:PORT`: its certificates are its own business, as upstream has it. The server's
/// identity is not shown.
pub(super) fn unverified_tls() -> Result<Arc<ClientConfig>, Status> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(Status::internal)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Takes any certificate whose key the server holds.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(status: serde_json::Value) -> Object {
        json!({ "status": status }).as_object().unwrap().clone()
    }

    #[test]
    fn the_address_of_the_preferred_type_is_taken() {
        let client = KubeletClient::new(KubeletClientConfig::default());
        let kubelet = client
            .of_node(&node(json!({
                "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.5"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10350}},
            })))
            .unwrap();
        assert_eq!(
            (kubelet.host.as_str(), kubelet.port.as_str()),
            ("10.0.0.5", "10350")
        );

        let error = client.of_node(&node(
            json!({ "addresses": [{"type": "X", "address": "y"}] }),
        ));
        assert_eq!(
            error.unwrap_err().message,
            "no preferred addresses found; known addresses: [{X y}]"
        );
    }
}
