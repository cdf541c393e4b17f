//! Tokens of other issuers: OpenID Connect, by flags or by `--authentication-config`.
//!
//! A token is of an issuer's if it says so, and is then judged by that issuer's keys and rules alone. Wording of refusals is upstream's; they are
//! logged, the client hears "Unauthorized". What was verified is remembered for [`REMEMBERED`], not beyond the token's own end.

mod claims;
pub mod config;
mod expression;
mod key_set;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use apimachinery::Object;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use base::Clock;

pub use config::{AuthenticationConfiguration, JwtIssuer, OidcFlags};

use super::{
    Authenticated, AuthenticationError, TokenAuthenticator,
    cache::{self, Cache},
};
use crate::{tokens::Jwt, tokens::jwk, webhook_client::WebhookClients};
use claims::Mapper;
use key_set::KeySet;

/// How long a token is not verified again.
const REMEMBERED: Duration = Duration::from_secs(10);
/// How far an issuer's clock may be ahead of ours where a token says from when it is good, as upstream.
const NOT_BEFORE_LEEWAY_SECONDS: i64 = 300;

/// The issuers of a configuration, which can be exchanged while serving.
pub struct JwtAuthenticators {
    issuers: ArcSwap<Vec<Arc<JwtAuthenticator>>>,
    clients: WebhookClients,
    clock: Clock,
}

impl JwtAuthenticators {
    /// Believes these issuers. An error names the rule that does not compile.
    pub fn new(
        issuers: &[JwtIssuer],
        clients: WebhookClients,
        clock: Clock,
    ) -> Result<Self, String> {
        let authenticators = Self {
            issuers: ArcSwap::default(),
            clients,
            clock,
        };
        authenticators.replace(issuers)?;
        Ok(authenticators)
    }

    /// Believes these from now on. An issuer whose rules are as they were keeps its keys.
    pub fn replace(&self, issuers: &[JwtIssuer]) -> Result<(), String> {
        let before = self.issuers.load();
        let after = issuers
            .iter()
            .map(|config| {
                let kept = before.iter().find(|issuer| issuer.config == *config);
                match kept {
                    Some(kept) => Ok(Arc::clone(kept)),
                    None => JwtAuthenticator::new(config, &self.clients, &self.clock).map(Arc::new),
                }
            })
            .collect::<Result<Vec<_>, String>>()?;
        self.issuers.store(Arc::new(after));
        Ok(())
    }
}

#[async_trait]
impl TokenAuthenticator for JwtAuthenticators {
    async fn authenticate_token(
        &self,
        token: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let Some(jwt) = Jwt::parse(token) else {
            return Ok(None);
        };
        let Some(claims) = jwt.unverified_claims::<Object>() else {
            return Ok(None);
        };
        let issuers = self.issuers.load_full();
        let named = claims.get("iss").and_then(serde_json::Value::as_str);
        let Some(issuer) = issuers
            .iter()
            .find(|issuer| named == Some(issuer.config.issuer.url.as_str()))
        else {
            return Ok(None);
        };
        let found = issuer.authenticate(token, &jwt, &claims).await;
        found.map(Some).map_err(AuthenticationError)
    }
}

/// Believes one issuer.
struct JwtAuthenticator {
    config: JwtIssuer,
    keys: KeySet,
    mapper: Mapper,
    verified: Cache<Authenticated>,
    clock: Clock,
}

impl JwtAuthenticator {
    fn new(config: &JwtIssuer, clients: &WebhookClients, clock: &Clock) -> Result<Self, String> {
        let known = |algorithm: &&String| !jwk::ALGORITHMS.contains(&algorithm.as_str());
        if let Some(algorithm) = config.signing_algorithms.iter().find(known) {
            return Err(format!("oidc: unsupported signing alg: {algorithm:?}"));
        }
        let issuer = &config.issuer;
        let authority = issuer.certificate_authority.as_str();
        Ok(Self {
            keys: KeySet::new(
                &issuer.url,
                issuer
                    .discovery_url
                    .as_deref()
                    .filter(|url| !url.is_empty()),
                (!authority.is_empty()).then_some(authority),
                clients.clone(),
                clock.clone(),
            ),
            mapper: Mapper::new(config)?,
            config: config.clone(),
            verified: Cache::default(),
            clock: clock.clone(),
        })
    }

    async fn authenticate(
        &self,
        token: &str,
        jwt: &Jwt<'_>,
        claims: &Object,
    ) -> Result<Authenticated, String> {
        let now = self.clock.now();
        let key = cache::key([token.as_bytes()]);
        if let Some(known) = self.verified.get(&key, now) {
            return Ok(known);
        }
        let expires = self
            .check_claims(claims, now.as_second())
            .map_err(|why| format!("oidc: verify token: {why}"))?;
        let algorithms = &self.config.signing_algorithms;
        if !algorithms.is_empty() && !algorithms.iter().any(|one| one == jwt.algorithm()) {
            return Err(format!(
                "oidc: verify token: oidc: id token signed with unsupported algorithm, expected {algorithms:?} got {:?}",
                jwt.algorithm()
            ));
        }
        self.keys
            .verify(jwt)
            .await
            .map_err(|why| format!("oidc: verify token: {why}"))?;
        let found = Authenticated {
            user: self.mapper.user(claims)?,
            // Good for whatever the API is: the audience of the token is its client's.
            audiences: Vec::new(),
        };
        let left = u64::try_from(expires - now.as_second()).unwrap_or_default();
        let ttl = REMEMBERED.min(Duration::from_secs(left));
        self.verified.put(key, found.clone(), now, ttl);
        Ok(found)
    }

    /// Audience and times. When the token ends, in seconds of the epoch.
    fn check_claims(&self, claims: &Object, now: i64) -> Result<i64, String> {
        let audiences = claims::texts(claims.get("aud")).unwrap_or_default();
        let wanted = &self.config.issuer.audiences;
        if !audiences.iter().any(|audience| wanted.contains(audience)) {
            return Err(format!(
                "oidc: expected audience in {wanted:?} got {audiences:?}"
            ));
        }
        // Some issuers write times with fractions.
        let time = |name: &str| {
            let value = claims.get(name)?;
            value
                .as_i64()
                .or_else(|| value.as_f64().map(|seconds| seconds as i64))
        };
        let expires = time("exp").unwrap_or_default();
        if now > expires {
            return Err(format!("oidc: token is expired (Token Expiry: {expires})"));
        }
        if let Some(start) = time("nbf")
            && now + NOT_BEFORE_LEEWAY_SECONDS < start
        {
            return Err(format!(
                "oidc: current time {now} before the nbf (not before) time: {start}"
            ));
        }
        Ok(expires)
    }
}
