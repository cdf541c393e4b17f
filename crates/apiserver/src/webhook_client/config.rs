//! Where a webhook is, whom to trust there, and as whom to appear.

use std::path::PathBuf;

use apimachinery::Object;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Uri};

use super::CallError;
use crate::lookup;

/// All that makes a client; equal configurations share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientConfig {
    /// Where it is.
    pub target: Target,
    /// Whose certificates are believed.
    pub trust: Trust,
    /// Which name its certificate must have, if not the host's.
    pub server_name: Option<String>,
    /// As whom the server appears.
    pub credentials: Credentials,
}

/// Where a webhook is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// At a URL.
    Url(String),
    /// Behind a Service.
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
        /// The path, which begins with a slash, or is empty.
        path: String,
    },
}

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Trust {
    /// Those that the system's authorities signed.
    System,
    /// Those that these authorities (PEM) signed.
    Authorities(Bytes),
    /// Any.
    Anything,
}

/// As whom the server appears; nobody by default.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// A certificate and its key, in PEM.
    pub certificate: Option<(Bytes, Bytes)>,
    /// A bearer token.
    pub token: Option<String>,
    /// A file with a bearer token, read at each call: tokens are rotated in place. Takes precedence over `token`.
    pub token_file: Option<PathBuf>,
    /// User and password.
    pub basic: Option<(String, String)>,
}

impl std::fmt::Debug for Credentials {
    /// Says what there is, never what it is.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials")
            .field("certificate", &self.certificate.is_some())
            .field("token", &self.token.is_some())
            .field("token_file", &self.token_file)
            .field("basic", &self.basic.is_some())
            .finish()
    }
}

/// A configuration of which no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Neither `url` nor `service`.
    #[error("webhook configuration must have either service or URL")]
    NoTarget,
    /// Its URL is none.
    #[error("Unparsable URL: {0}")]
    Url(String),
    /// `caBundle` is not base64.
    #[error("unable to load root certificates: {0}")]
    Trust(String),
    /// A certificate or key that is none.
    #[error("unable to load root certificates: {0}")]
    Tls(String),
    /// A token that cannot be read or sent.
    #[error("failed to read token file {path:?}: {reason}")]
    Token {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl ClientConfig {
    /// Of an API object's `clientConfig`.
    pub fn from_object(config: &Object) -> Result<Self, ConfigError> {
        let text = |path: &[&str]| lookup::text(config, path).to_owned();
        let target = if let Some(service) = lookup::map(config, &["service"]) {
            Target::Service {
                namespace: lookup::text(service, &["namespace"]).to_owned(),
                name: lookup::text(service, &["name"]).to_owned(),
                port: lookup::number(service, &["port"])
                    .and_then(|port| u16::try_from(port).ok())
                    .filter(|port| *port > 0)
                    .unwrap_or(443),
                path: lookup::text(service, &["path"]).to_owned(),
            }
        } else {
            match text(&["url"]) {
                url if url.is_empty() => return Err(ConfigError::NoTarget),
                url => Target::Url(url),
            }
        };
        let bundle = STANDARD
            .decode(text(&["caBundle"]))
            .map_err(|error| ConfigError::Trust(error.to_string()))?;
        Ok(Self {
            target,
            trust: if bundle.is_empty() {
                Trust::System
            } else {
                Trust::Authorities(bundle.into())
            },
            server_name: None,
            credentials: Credentials::default(),
        })
    }

    /// Host and port, as credentials are found by.
    pub fn host_port(&self) -> Result<String, ConfigError> {
        let url = self.url()?;
        let host = url.host().unwrap_or_default();
        Ok(format!("{host}:{}", url.port_u16().unwrap_or(443)))
    }

    /// What is posted to, without a query.
    pub(super) fn url(&self) -> Result<Uri, ConfigError> {
        let text = match &self.target {
            Target::Url(url) => url.clone(),
            Target::Service {
                namespace,
                name,
                port,
                path,
            } => {
                let slash = if path.is_empty() || path.starts_with('/') {
                    ""
                } else {
                    "/"
                };
                format!("https://{name}.{namespace}.svc:{port}{slash}{path}")
            }
        };
        let parsed: Uri = text
            .parse()
            .map_err(|error: http::uri::InvalidUri| ConfigError::Url(error.to_string()))?;
        let (Some(scheme), Some(authority)) = (parsed.scheme(), parsed.authority()) else {
            return Err(ConfigError::Url(format!("{text:?} has no scheme or host")));
        };
        if !matches!(scheme.as_str(), "https" | "http") {
            return Err(ConfigError::Url(format!(
                "unsupported protocol scheme {scheme:?}"
            )));
        }
        Uri::builder()
            .scheme(scheme.clone())
            .authority(authority.clone())
            .path_and_query(parsed.path())
            .build()
            .map_err(|error| ConfigError::Url(error.to_string()))
    }
}

impl Credentials {
    /// The `Authorization` header, if there is any.
    pub(super) async fn authorization(&self) -> Result<Option<HeaderValue>, CallError> {
        let text = if let Some(path) = &self.token_file {
            let error = |reason: String| ConfigError::Token {
                path: path.clone(),
                reason,
            };
            let token = tokio::fs::read_to_string(path)
                .await
                .map_err(|source| error(source.to_string()))?;
            if token.trim().is_empty() {
                return Err(error("read empty token from file".to_owned()).into());
            }
            format!("Bearer {}", token.trim())
        } else if let Some(token) = &self.token {
            format!("Bearer {token}")
        } else if let Some((user, password)) = &self.basic {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        } else {
            return Ok(None);
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            CallError::Broken(
                "net/http: invalid header field value for \"Authorization\"".to_owned(),
            )
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
