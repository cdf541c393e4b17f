//! Tokens of other issuers: OpenID Connect, by flags or by `--authentication-config`.
//!
//! A token is of an issuer's if it says so, and is then judged by that issuer's keys and rules alone. Wording of refusals is upstream's; they are
//! logged, the client hears "Unauthorized". What was verified is remembered for [`REMEMBERED`], not beyond the token's own end.

mod claims;
pub mod config;
mod distributed;
mod expression;
mod key_set;
#[cfg(test)]
mod tests;
mod verifier;

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
use crate::{tokens::Jwt, webhook_client::WebhookClients};
use claims::Mapper;
use distributed::ClaimResolver;
use key_set::{KeySet, Source};
use verifier::Verifier;

/// How long a token is not verified again.
const REMEMBERED: Duration = Duration::from_secs(10);

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
        let found = issuer.authenticate(token, &jwt, claims).await;
        found.map(Some).map_err(AuthenticationError)
    }
}

/// Believes one issuer.
struct JwtAuthenticator {
    config: JwtIssuer,
    keys: KeySet,
    verifier: Verifier,
    /// Finds the groups, where these are named by a claim.
    resolver: Option<ClaimResolver>,
    mapper: Mapper,
    verified: Cache<Authenticated>,
    clock: Clock,
}

impl JwtAuthenticator {
    fn new(config: &JwtIssuer, clients: &WebhookClients, clock: &Clock) -> Result<Self, String> {
        let verifier = Verifier::new(config)?;
        let issuer = &config.issuer;
        let authority = issuer.certificate_authority.as_str();
        let authority = (!authority.is_empty()).then_some(authority);
        let source = Source::new(authority, clients.clone());
        let groups = config.claim_mappings.groups.claim.as_str();
        Ok(Self {
            resolver: (!groups.is_empty()).then(|| {
                ClaimResolver::new(groups, verifier.clone(), source.clone(), clock.clone())
            }),
            verifier,
            keys: KeySet::new(
                &issuer.url,
                issuer
                    .discovery_url
                    .as_deref()
                    .filter(|url| !url.is_empty()),
                source,
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
        mut claims: Object,
    ) -> Result<Authenticated, String> {
        let now = self.clock.now();
        let key = cache::key([token.as_bytes()]);
        if let Some(known) = self.verified.get(&key, now) {
            return Ok(known);
        }
        let expires = self
            .verifier
            .verify(jwt, &claims, &self.keys, now.as_second())
            .await
            .map_err(|why| format!("oidc: verify token: {why}"))?;
        if let Some(resolver) = &self.resolver {
            resolver
                .expand(&mut claims)
                .await
                .map_err(|why| format!("oidc: could not expand distributed claims: {why}"))?;
        }
        let found = Authenticated {
            user: self.mapper.user(&claims)?,
            // Without audiences it is good for whatever the API is: that of the token is its client's.
            ..Authenticated::default()
        };
        let left = u64::try_from(expires - now.as_second()).unwrap_or_default();
        let ttl = REMEMBERED.min(Duration::from_secs(left));
        self.verified.put(key, found.clone(), now, ttl);
        Ok(found)
    }
}
