//! Authentication: one file an authenticator, tried in the order of the table in [`Union`].

mod anonymous;
pub mod bearer;
mod bootstrap_token;
pub(crate) mod cache;
pub mod impersonation;
pub mod jwt;
mod metrics;
pub mod request_header;
pub mod reviews;
pub mod service_account;
mod token_file;
mod union;
pub mod webhook;
mod x509;

use std::sync::Arc;

use async_trait::async_trait;

pub use anonymous::Anonymous;
pub use bootstrap_token::BootstrapTokens;
pub use jwt::JwtAuthenticators;
pub use metrics::{AuthenticationMetrics, ServiceAccountMetrics};
pub use request_header::{RequestHeaderConfig, RequestHeaders};
pub use reviews::{SelfSubjectReview, TokenReview};
pub use service_account::{ServiceAccountTokens, VerifiedTokens};
pub use token_file::{TokenFile, TokenFileError};
pub use union::{BearerTokens, Union};
pub use x509::{ChainVerifier, ClientCertificates};

use crate::user::UserInfo;

/// What the connection says about its peer, before any header is read.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// The client certificates in DER, leaf first; the TLS layer has checked possession, not trust.
    pub certificates: Arc<[Vec<u8>]>,
    /// The peer's address; none for calls within the process.
    pub address: Option<std::net::SocketAddr>,
}

/// A verified identity.
#[derive(Clone, Debug, Default)]
pub struct Authenticated {
    /// Who.
    pub user: UserInfo,
    /// For which audiences the credential is good, where it says so.
    pub audiences: Vec<String>,
    /// What is to be told to the audit log of how they were recognised.
    pub annotations: Vec<(&'static str, String)>,
    /// What the client is to be warned of.
    pub warnings: Vec<&'static str>,
}

/// Turns the credentials of a request into a user.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// `path` is what is asked for. `Ok(None)`: no credentials of this sort. `Err`: there were some and they are bad; the request ends with 401.
    async fn authenticate(
        &self,
        headers: &http::HeaderMap,
        peer: &Peer,
        path: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError>;

    /// Takes its sort of credentials out of a request, so that nothing behind authentication sees them.
    fn strip(&self, _headers: &mut http::HeaderMap) {}
}

/// Turns a bearer token into a user: requests carry one in a header, TokenReviews in their spec.
#[async_trait]
pub trait TokenAuthenticator: Send + Sync {
    /// `Ok(None)`: not a token of this sort. `Err`: it is, and it is bad.
    async fn authenticate_token(
        &self,
        token: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError>;
}

/// Why credentials were refused. For the log: the client hears "Unauthorized" alone.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AuthenticationError(pub String);

#[cfg(test)]
mod tests;
