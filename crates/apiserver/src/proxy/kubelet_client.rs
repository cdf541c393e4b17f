//! How the server reaches kubelets: address and port from the Node object, TLS by `--kubelet-certificate-authority`, itself by
//! `--kubelet-client-certificate` and `--kubelet-client-key`.
//!
//! Files are read at every connection, so that rotated certificates are taken up.

use std::{path::PathBuf, sync::Arc};

use apimachinery::{Object, status::Status};
use base::tls::{self, Identity, TlsError, Trust};
use rustls::ClientConfig;

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
            server_name: None,
        })
    }

    fn tls(&self, verify: bool) -> Result<ClientConfig, TlsError> {
        let authority = self.config.certificate_authority.as_deref();
        let authority = authority.filter(|_| verify).map(tls::read).transpose()?;
        let identity = match &self.config.client_identity {
            None => None,
            Some((certificate, key)) => Some((tls::read(certificate)?, tls::read(key)?)),
        };
        let trust = authority
            .as_deref()
            .map_or(Trust::Anything, Trust::Authorities);
        let identity = identity
            .as_ref()
            .map(|(certificate, key)| Identity { certificate, key });
        tls::client_config(trust, identity)
    }
}

/// TLS towards what users run behind `https:NAME:PORT`: its certificates are its own business, as upstream has it. The server's
/// identity is not shown.
pub(super) fn unverified_tls() -> Result<Arc<ClientConfig>, Status> {
    let config = tls::client_config(Trust::Anything, None).map_err(Status::internal)?;
    Ok(Arc::new(config))
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
