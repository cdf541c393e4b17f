//! Who asks: whom a front proxy vouches for, who shows a certificate of the cluster's authority, or who bears a token that the API server
//! knows (TokenReview). Follows upstream's delegating authenticator: what one of them does not know another may, and only when somebody was
//! named whom none of them takes is the request refused; with no credentials at all it is anonymous, where that is allowed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use base::{
    Clock,
    tls::{ClientVerifier, TlsError, client_verifier},
};
use client::Client;
use http::{HeaderMap, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use ring::digest;
use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    expiring_cache::ExpiringCache,
    front_proxy::FrontProxy,
    listener::Peer,
    review::{ReviewError, ask},
};

/// Bad tokens are remembered shortly, so that guessing does not reach the API server.
const BAD_TOKEN_TTL: Duration = Duration::from_secs(10);
const MAX_TOKENS: usize = 1024;
const AUTHENTICATED: &str = "system:authenticated";

/// Who.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// Unique in time and space, or empty.
    pub uid: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// What else is known, for authorizers.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Nobody who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unauthorized")]
pub struct Unauthorized;

/// Authorities whose certificates are believed.
pub(crate) struct Authorities(Arc<ClientVerifier>);

impl Authorities {
    /// Of a bundle in PEM.
    pub(crate) fn new(bundle: &[u8]) -> Result<Self, TlsError> {
        Ok(Self(client_verifier(bundle)?))
    }

    /// Whether one of them vouches for the peer now.
    pub(crate) fn verify(&self, peer: &Peer, clock: &Clock) -> Result<(), rustls::Error> {
        let Some((leaf, intermediates)) = peer.certificates.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        let leaf = CertificateDer::from(leaf.as_slice());
        let intermediates: Vec<_> = intermediates
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let seconds = u64::try_from(clock.now().as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        self.0.verify(&leaf, &intermediates, now)
    }
}

/// What is known of somebody who may ask.
pub struct Authentication {
    authorities: ArcSwapOption<Authorities>,
    front_proxy: ArcSwapOption<FrontProxy>,
    reviewer: Option<Client>,
    anonymous: bool,
    token_ttl: Duration,
    clock: Clock,
    /// By the token's hash: tokens themselves are not kept.
    tokens: ExpiringCache<[u8; 32], Option<User>>,
}

impl Authentication {
    /// Tokens are shown to the API server by `reviewer`, whose answers are remembered for `token_ttl`; without one no token is good. Requests
    /// without credentials are let in if `anonymous`.
    pub fn new(
        reviewer: Option<Client>,
        anonymous: bool,
        token_ttl: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            authorities: ArcSwapOption::empty(),
            front_proxy: ArcSwapOption::empty(),
            reviewer,
            anonymous,
            token_ttl,
            tokens: ExpiringCache::new(MAX_TOKENS, clock.clone()),
            clock,
        }
    }

    /// Believes certificates of these authorities (PEM) from now on, and no others.
    pub fn trust(&self, bundle: &[u8]) -> Result<(), TlsError> {
        let authorities = Authorities::new(bundle)?;
        self.authorities.store(Some(Arc::new(authorities)));
        Ok(())
    }

    /// Believes what this front proxy says of its clients from now on.
    pub fn trust_front_proxy(&self, front_proxy: FrontProxy) {
        self.front_proxy.store(Some(Arc::new(front_proxy)));
    }

    /// Bad credentials are refused even where anonymous requests are allowed.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: &Peer,
    ) -> Result<User, Unauthorized> {
        let front_proxy = self.front_proxy.load_full();
        let vouched = front_proxy.and_then(|proxy| proxy.user(headers, peer, &self.clock));
        let mut refused = matches!(vouched, Some(Err(Unauthorized)));
        if let Some(Ok(user)) = vouched {
            return Ok(authenticated(user));
        }
        match self.by_certificate(peer) {
            Some(Ok(user)) => return Ok(authenticated(user)),
            Some(Err(Unauthorized)) => refused = true,
            None => {}
        }
        if let Some(token) = bearer_token(headers) {
            return self.by_token(token).await.map(authenticated);
        }
        if refused || !self.anonymous {
            return Err(Unauthorized);
        }
        Ok(User {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
            ..User::default()
        })
    }

    fn by_certificate(&self, peer: &Peer) -> Option<Result<User, Unauthorized>> {
        let authorities = self.authorities.load_full()?;
        let leaf = peer.certificates.first()?;
        if let Err(error) = authorities.verify(peer, &self.clock) {
            tracing::debug!(%error, "a client certificate was refused");
            return Some(Err(Unauthorized));
        }
        subject(leaf).map(Ok)
    }

    async fn by_token(&self, token: &str) -> Result<User, Unauthorized> {
        let client = self.reviewer.as_ref().ok_or(Unauthorized)?;
        let hash = digest::digest(&digest::SHA256, token.as_bytes());
        let key: [u8; 32] = hash.as_ref().try_into().expect("SHA-256 has 32 bytes");
        if let Some(known) = self.tokens.get(&key) {
            return known.ok_or(Unauthorized);
        }
        let user = review(client, token).await.map_err(|error| {
            tracing::warn!(%error, "cannot review a token");
            Unauthorized
        })?;
        let ttl = match &user {
            Some(_) => self.token_ttl,
            None => self.token_ttl.min(BAD_TOKEN_TTL),
        };
        self.tokens.insert(key, user.clone(), ttl);
        user.ok_or(Unauthorized)
    }
}

/// Everybody who is known is in this group.
fn authenticated(mut user: User) -> User {
    if !user.groups.iter().any(|group| group == AUTHENTICATED) {
        user.groups.push(AUTHENTICATED.to_owned());
    }
    user
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
async fn review(client: &Client, token: &str) -> Result<Option<User>, ReviewError> {
    let review = TokenReview {
        spec: TokenReviewSpec {
            token: token.to_owned(),
            ..TokenReviewSpec::default()
        },
        ..TokenReview::default()
    };
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let answer: TokenReview = ask(client, path, &review).await?;
    let status = answer.status.unwrap_or_default();
    let user = status.user.filter(|_| status.authenticated == Some(true));
    Ok(user.map(|user| User {
        name: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default().into_iter().collect(),
    }))
}

/// The common name is the user, each organization a group. A certificate without a common name identifies nobody.
fn subject(leaf: &[u8]) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let subject = certificate.subject();
    let name = subject
        .iter_common_name()
        .filter_map(|value| value.as_str().ok())
        .last()?;
    let groups = subject
        .iter_organization()
        .filter_map(|value| value.as_str().ok())
        .map(str::to_owned)
        .collect();
    (!name.is_empty()).then(|| User {
        name: name.to_owned(),
        groups,
        ..User::default()
    })
}

/// The common name of a certificate, if it has one.
pub(crate) fn common_name(leaf: &[u8]) -> Option<String> {
    subject(leaf).map(|user| user.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_gets_in_without_credentials() {
        let authentication = |anonymous| {
            Authentication::new(None, anonymous, Duration::from_secs(10), Clock::system())
        };
        let mut headers = HeaderMap::new();
        let refused = authentication(false)
            .authenticate(&headers, &Peer::default())
            .await;
        assert_eq!(refused, Err(Unauthorized));
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
            Err(Unauthorized),
            "a token that nobody can check is a bad one"
        );
    }
}
