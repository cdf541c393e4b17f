//! Where the API server is and how to prove who we are: from a kubeconfig, or from within a pod.

use std::{env, fs, io, path::PathBuf};

use thiserror::Error;

use crate::kubeconfig::{Kubeconfig, KubeconfigError};

/// PEM data, inline or in a file that may be replaced while we run.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// Inline.
    Inline(Vec<u8>),
    /// Read at each new connection.
    File(PathBuf),
}

impl Pem {
    /// The data as they are now.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::Inline(data) => Ok(data.clone()),
            Self::File(path) => fs::read(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            }),
        }
    }
}

/// How the server is verified and who we are at the TLS level.
#[derive(Clone, Default)]
pub struct TlsConfig {
    /// Authorities trusted to sign the server's certificate.
    pub ca: Option<Pem>,
    /// Trust anything. For tests and debugging.
    pub insecure_skip_verify: bool,
    /// Verify this name instead of the host's.
    pub server_name: Option<String>,
    /// Our certificate and key.
    pub client_identity: Option<(Pem, Pem)>,
}

/// What goes into the `Authorization` header.
#[derive(Clone, Default)]
pub enum Auth {
    /// Nothing.
    #[default]
    None,
    /// A bearer token.
    Token(String),
    /// A bearer token in a file (projected tokens rotate), read again every minute.
    TokenFile(PathBuf),
}

/// A server and credentials.
#[derive(Clone, Default)]
pub struct Config {
    /// `https://host:port`, with an optional path prefix.
    pub server: String,
    /// TLS.
    pub tls: TlsConfig,
    /// Bearer credentials.
    pub auth: Auth,
    /// Namespace of the context, or of the pod.
    pub namespace: Option<String>,
}

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The pod environment is missing.
    #[error(
        "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"
    )]
    NotInCluster,
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kubeconfig is of no use.
    #[error(transparent)]
    Kubeconfig(#[from] KubeconfigError),
}

const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

impl Config {
    /// The configuration that every pod has: the `kubernetes` Service and the projected service account volume.
    pub fn in_cluster() -> Result<Self, ConfigError> {
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let (Some(host), Some(port)) = (
            variable("KUBERNETES_SERVICE_HOST"),
            variable("KUBERNETES_SERVICE_PORT"),
        ) else {
            return Err(ConfigError::NotInCluster);
        };
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host
        };
        let directory = PathBuf::from(SERVICE_ACCOUNT);
        let token = directory.join("token");
        fs::metadata(&token).map_err(|source| ConfigError::Read {
            path: token.clone(),
            source,
        })?;
        Ok(Self {
            server: format!("https://{host}:{port}"),
            tls: TlsConfig {
                ca: Some(Pem::File(directory.join("ca.crt"))),
                ..TlsConfig::default()
            },
            auth: Auth::TokenFile(token),
            namespace: fs::read_to_string(directory.join("namespace")).ok(),
        })
    }

    /// From a kubeconfig file, by its current context or the one named.
    pub fn from_kubeconfig(
        path: impl Into<PathBuf>,
        context: Option<&str>,
    ) -> Result<Self, ConfigError> {
        Ok(Kubeconfig::read(path)?.config(context)?)
    }

    /// As client-go chooses: the kubeconfig if one is given, otherwise from within the pod.
    pub fn from_kubeconfig_or_in_cluster(kubeconfig: Option<PathBuf>) -> Result<Self, ConfigError> {
        match kubeconfig {
            Some(path) => Self::from_kubeconfig(path, None),
            None => Self::in_cluster(),
        }
    }
}
