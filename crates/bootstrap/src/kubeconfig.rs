//! Kubeconfigs for users and components (<https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/>).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::pki::Identity;

/// What goes into a kubeconfig.
#[derive(Clone, Copy)]
pub struct KubeconfigParams<'a> {
    /// Name of the cluster, the context and (with `-user`) the user.
    pub name: &'a str,
    /// `https://host:port`.
    pub server: &'a str,
    /// The authority that signed the server's certificate; PEM.
    pub ca_pem: &'a str,
    /// As whom.
    pub identity: &'a Identity,
}

/// A whole kubeconfig with one cluster, one user and one context, all data inline.
pub fn render(params: &KubeconfigParams<'_>) -> Value {
    let &KubeconfigParams {
        name,
        server,
        ca_pem,
        identity,
    } = params;
    let user = format!("{name}-admin");
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{
            "name": name,
            "cluster": { "server": server, "certificate-authority-data": STANDARD.encode(ca_pem) },
        }],
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": STANDARD.encode(&identity.issued.certificate_pem),
                "client-key-data": STANDARD.encode(&identity.issued.key_pem),
            },
        }],
        "contexts": [{ "name": name, "context": { "cluster": name, "user": user } }],
    })
}
