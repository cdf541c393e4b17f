//! Distributed claims (OpenID Connect Core 1.0, 5.6.2): groups that do not stand in the token, but in another one, which an endpoint gives that the
//! token names. Issuers do so where a user has more groups than a token can hold.
//!
//! The second token is judged by the rules of the first one's issuer, but by the keys of the issuer that it names itself: it was the first token, whose signature
//! has been verified, that sent us there. Aggregated claims are left alone, as upstream leaves them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use apimachinery::Object;
use base::Clock;
use serde::Deserialize;
use serde_json::Value;

use super::{
    key_set::{KeySet, Source},
    verifier::Verifier,
};
use crate::tokens::Jwt;

/// Issuers of distributed claims whose keys are kept; when there are more, all are forgotten.
const MAX_ISSUERS: usize = 16;

#[derive(Deserialize)]
struct Endpoint {
    #[serde(default)]
    endpoint: String,
    #[serde(default)]
    access_token: String,
}

/// Finds one claim where others keep it.
pub(super) struct ClaimResolver {
    claim: String,
    verifier: Verifier,
    source: Source,
    clock: Clock,
    /// By issuer. Bounded by [`MAX_ISSUERS`].
    keys: Mutex<HashMap<String, Arc<KeySet>>>,
}

impl ClaimResolver {
    /// Finds `claim`. Documents come from `source`.
    pub(super) fn new(claim: &str, verifier: Verifier, source: Source, clock: Clock) -> Self {
        Self {
            claim: claim.to_owned(),
            verifier,
            source,
            clock,
            keys: Mutex::default(),
        }
    }

    /// Puts the claim among the others, if it is not there and they say where it is.
    pub(super) async fn expand(&self, claims: &mut Object) -> Result<(), String> {
        if claims.contains_key(&self.claim) {
            return Ok(());
        }
        let Some(endpoint) = self.endpoint(claims)? else {
            return Ok(());
        };
        let value = self.resolve(&endpoint).await?;
        claims.insert(self.claim.clone(), value);
        Ok(())
    }

    fn endpoint(&self, claims: &Object) -> Result<Option<Endpoint>, String> {
        let Some(names) = claims.get("_claim_names") else {
            return Ok(None);
        };
        let names: HashMap<String, String> = serde_json::from_value(names.clone())
            .map_err(|error| format!("oidc: error parsing distributed claim names: {error}"))?;
        let sources = claims
            .get("_claim_sources")
            .ok_or("oidc: no claim sources")?;
        let mut sources: HashMap<String, Endpoint> = serde_json::from_value(sources.clone())
            .map_err(|error| format!("oidc: could not parse claim sources: {error}"))?;
        let Some(source) = names.get(&self.claim) else {
            return Ok(None);
        };
        let endpoint = sources.remove(source).ok_or_else(|| {
            format!("id token _claim_names contained a source {source} missing in _claims_sources")
        })?;
        Ok(Some(endpoint).filter(|endpoint| !endpoint.endpoint.is_empty()))
    }

    async fn resolve(&self, endpoint: &Endpoint) -> Result<Value, String> {
        let (claim, url) = (&self.claim, &endpoint.endpoint);
        let access = Some(endpoint.access_token.as_str()).filter(|token| !token.is_empty());
        let document = self
            .source
            .get(url, access)
            .await
            .map_err(|why| format!("while getting distributed claim {claim:?}: {why}"))?;
        let unreadable = |why: &str| {
            format!(
                "getting untrusted issuer from endpoint {url} failed for claim {claim:?}: {why}"
            )
        };
        let token = std::str::from_utf8(&document).map_err(|_| unreadable("not a text"))?;
        let jwt = Jwt::parse(token.trim()).ok_or_else(|| unreadable("malformed token"))?;
        let mut claims: Object = jwt
            .unverified_claims()
            .ok_or_else(|| unreadable("malformed claims"))?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let issuer = issuer.ok_or_else(|| unreadable("no issuer"))?;
        let keys = self.keys_of(issuer);
        let now = self.clock.now().as_second();
        self.verifier
            .verify(&jwt, &claims, &keys, now)
            .await
            .map_err(|why| format!("verify distributed claim token: {why}"))?;
        claims.remove(claim).ok_or_else(|| {
            format!(
                "jwt returned by distributed claim endpoint {url:?} did not contain claim: {claim}"
            )
        })
    }

    fn keys_of(&self, issuer: &str) -> Arc<KeySet> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = keys.get(issuer) {
            return Arc::clone(known);
        }
        if keys.len() >= MAX_ISSUERS {
            keys.clear();
        }
        let (source, clock) = (self.source.clone(), self.clock.clone());
        let new = Arc::new(KeySet::new(issuer, None, source, clock));
        keys.insert(issuer.to_owned(), Arc::clone(&new));
        new
    }
}
