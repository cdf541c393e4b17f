//! Who asks: a client certificate of the cluster's authority, or a bearer token that the API server knows (TokenReview).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use base::{
    Clock,
    tls::{TlsError, client_verifier},
};
use client::{Client, Request};
use http::{HeaderMap, Method, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use ring::digest;
use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::danger::ClientCertVerifier,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{body::Refusal, cache::ExpiringCache};

/// `authentication.webhook.cacheTTL`.
const TOKEN_TTL: Duration = Duration::from_secs(120);
/// Bad tokens are remembered shortly, so that guessing does not reach the API server.
const BAD_TOKEN_TTL: Duration = Duration::from_secs(10);
const MAX_TOKENS: usize = 1024;

/// What the connection says about its peer.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// The client certificates in DER, leaf first; possession is checked, trust is not.
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Who.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) groups: Vec<String>,
    pub(super) extra: BTreeMap<String, Vec<String>>,
}

pub(super) struct Authentication {
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    client: Option<Client>,
    anonymous: bool,
    clock: Clock,
    /// By the token's hash: tokens themselves are not kept.
    tokens: ExpiringCache<[u8; 32], Option<User>>,
}

impl Authentication {
    pub(super) fn new(
        client_ca_pem: Option<&[u8]>,
        client: Option<Client>,
        anonymous: bool,
        clock: Clock,
    ) -> Result<Self, TlsError> {
        let verifier = client_ca_pem.map(client_verifier).transpose()?;
        let tokens = ExpiringCache::new(MAX_TOKENS, clock.clone());
        Ok(Self {
            verifier,
            client,
            anonymous,
            clock,
            tokens,
        })
    }

    /// Bad credentials are refused even where anonymous requests are allowed.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<User, Refusal> {
        if let Some(user) = self.by_certificate(peer)? {
            return Ok(user);
        }
        if let Some(token) = bearer_token(headers) {
            return self.by_token(token).await;
        }
        if self.anonymous {
            return Ok(User {
                name: "system:anonymous".to_owned(),
                groups: vec!["system:unauthenticated".to_owned()],
                ..User::default()
            });
        }
        Err(unauthorized())
    }

    fn by_certificate(&self, peer: &Peer) -> Result<Option<User>, Refusal> {
        let Some(verifier) = &self.verifier else {
            return Ok(None);
        };
        let Some((leaf, intermediates)) = peer.certificates.split_first() else {
            return Ok(None);
        };
        let der = CertificateDer::from(leaf.as_slice());
        let intermediates: Vec<_> = intermediates
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let seconds = u64::try_from(self.clock.now().as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        verifier
            .verify_client_cert(&der, &intermediates, now)
            .map_err(|error| {
                tracing::debug!(%error, "a client certificate was refused");
                unauthorized()
            })?;
        Ok(subject(leaf))
    }

    async fn by_token(&self, token: &str) -> Result<User, Refusal> {
        let Some(client) = &self.client else {
            return Err(unauthorized());
        };
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let key: [u8; 32] = hash.as_ref().try_into().expect("SHA-256 has 32 bytes");
        let known = match self.tokens.get(&key) {
            Some(known) => known,
            None => {
                let user = review(client, token).await?;
                let ttl = if user.is_some() {
                    TOKEN_TTL
                } else {
                    BAD_TOKEN_TTL
                };
                self.tokens.insert(key, user.clone(), ttl);
                user
            }
        };
        known.ok_or_else(unauthorized)
    }
}

fn unauthorized() -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, "Unauthorized")
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    (scheme.eq_ignore_ascii_case("bearer"))
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

/// Asks the API server. `None`: it does not know the token.
async fn review(client: &Client, token: &str) -> Result<Option<User>, Refusal> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: token.to_owned(),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer: TokenReview = ask(client, path, &review).await.map_err(|error| {
        tracing::warn!(%error, "cannot review a token");
        unauthorized()
    })?;
    let status = answer.status.unwrap_or_default();
    let user = status.user.filter(|_| status.authenticated == Some(true));
    Ok(user.map(|user| User {
        name: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default().into_iter().collect(),
    }))
}

/// Creates a review and reads the answer.
pub(super) async fn ask<T>(client: &Client, path: &str, review: &T) -> Result<T, AskError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let body = serde_json::to_vec(review)?;
    let answer = client
        .request(Request::json(Method::POST, path, body))
        .await?;
    Ok(serde_json::from_slice(&answer)?)
}

/// Why the API server could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    #[error(transparent)]
    Api(#[from] client::ApiError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// The common name is the user, each organization a group. A certificate without a common name identifies nobody.
fn subject(leaf: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let subject = certificate.subject();
    let name = subject
        .iter_common_name()
        .filter_map(|value| value.as_str().ok())
        .last()?;
    let mut groups: Vec<String> = subject
        .iter_organization()
        .filter_map(|value| value.as_str().ok())
        .map(str::to_owned)
        .collect();
    groups.push("system:authenticated".to_owned());
    (!name.is_empty()).then(|| User {
        name: name.to_owned(),
        groups,
        ..User::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_gets_in_without_credentials() {
        let authentication =
            |anonymous| Authentication::new(None, None, anonymous, Clock::system()).unwrap();
        let mut headers = HeaderMap::new();
        let refused = authentication(false)
            .authenticate(&headers, &Peer::default())
            .await;
        assert_eq!(refused, Err(unauthorized()));
        let anonymous = authentication(true)
            .authenticate(&headers, &Peer::default())
            .await;
        assert_eq!(anonymous.unwrap().name, "system:anonymous");
        headers.insert(header::AUTHORIZATION, "Bearer x".parse().unwrap());
        let bad = authentication(true)
            .authenticate(&headers, &Peer::default())
            .await;
        assert_eq!(
            bad,
            Err(unauthorized()),
            "a token that nobody can check is a bad one"
        );
    }
}
