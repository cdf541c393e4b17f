//! The keys of an issuer: found by OpenID Connect discovery, kept, and fetched again when a token names one that is not among them.
//!
//! Bounds: one fetch at a time, none sooner than [`MIN_AGE`] after the last (so that forged key ids do not make us hammer an issuer), a
//! timeout, and a size of the documents.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use base::Clock;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;

use crate::{
    tokens::{
        Jwt,
        jwk::{self, JsonWebKey},
    },
    webhook_client::{Call, ClientConfig, Credentials, Target, Trust, WebhookClients},
};

/// How old keys must be before they are fetched again.
const MIN_AGE: Duration = Duration::from_secs(10);
/// Time for each of the two documents.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Size of each.
const MAX_BYTES: usize = 1 << 20;

/// The keys of one issuer.
pub(super) struct KeySet {
    /// What tokens name.
    issuer: String,
    /// Where the configuration document is.
    discovery_url: String,
    source: Source,
    clock: Clock,
    state: Mutex<State>,
    /// Held while fetching.
    fetching: tokio::sync::Mutex<()>,
}

/// Where documents of issuers are had from.
#[derive(Clone)]
pub(super) struct Source {
    trust: Trust,
    clients: WebhookClients,
}

#[derive(Default)]
struct State {
    keys: Arc<[JsonWebKey]>,
    tried: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

impl KeySet {
    /// Of an issuer whose documents `source` gives.
    pub(super) fn new(
        issuer: &str,
        discovery_url: Option<&str>,
        source: Source,
        clock: Clock,
    ) -> Self {
        let default = || {
            let base = issuer.trim_end_matches('/');
            format!("{base}/.well-known/openid-configuration")
        };
        Self {
            issuer: issuer.to_owned(),
            discovery_url: discovery_url.map_or_else(default, str::to_owned),
            source,
            clock,
            state: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
        }
    }

    /// Whether a key of the issuer has signed it. An error where that could not be found out.
    pub(super) async fn verify(&self, token: &Jwt<'_>) -> Result<(), String> {
        let (keys, tried) = self.state();
        if signed(token, &keys) {
            return Ok(());
        }
        if self.is_recent(tried) {
            return Err("failed to verify id token signature".to_owned());
        }
        let _fetching = self.fetching.lock().await;
        // Who waited finds what the other has fetched.
        let (mut keys, tried) = self.state();
        if !self.is_recent(tried) {
            let fetched = self.fetch().await;
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.tried = Some(self.clock.now());
            if let Ok(fetched) = &fetched {
                state.keys = Arc::clone(fetched);
            }
            drop(state);
            keys = fetched?;
        }
        if signed(token, &keys) {
            Ok(())
        } else {
            Err("failed to verify id token signature".to_owned())
        }
    }

    fn state(&self) -> (Arc<[JsonWebKey]>, Option<Timestamp>) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        (Arc::clone(&state.keys), state.tried)
    }

    fn is_recent(&self, tried: Option<Timestamp>) -> bool {
        tried.is_some_and(|tried| self.clock.now() < tried + MIN_AGE)
    }

    async fn fetch(&self) -> Result<Arc<[JsonWebKey]>, String> {
        let document = self.source.get(&self.discovery_url, None).await?;
        let configuration: Configuration = serde_json::from_slice(&document)
            .map_err(|error| format!("failed to decode provider discovery object: {error}"))?;
        if configuration.issuer != self.issuer {
            return Err(format!(
                "issuer URL provided to client ({:?}) did not match the issuer URL returned by provider ({:?})",
                self.issuer, configuration.issuer
            ));
        }
        let document = self.source.get(&configuration.jwks_uri, None).await?;
        let keys =
            jwk::parse_set(&document).map_err(|error| format!("failed to decode keys: {error}"))?;
        tracing::debug!(issuer = self.issuer, keys = keys.len(), "fetched keys");
        Ok(keys.into())
    }
}

impl Source {
    /// Of servers whose certificate `authority` (PEM) vouches for; the system's authorities if there is none.
    pub(super) fn new(authority: Option<&str>, clients: WebhookClients) -> Self {
        let trust = authority.map_or(Trust::System, |pem| {
            Trust::Authorities(Bytes::copy_from_slice(pem.as_bytes()))
        });
        Self { trust, clients }
    }

    /// A document. `access` is a bearer token to show.
    pub(super) async fn get(&self, url: &str, access: Option<&str>) -> Result<Bytes, String> {
        if !url.starts_with("https://") {
            return Err(format!("{url}: not an https URL"));
        }
        let config = ClientConfig {
            target: Target::Url(url.to_owned()),
            trust: self.trust.clone(),
            server_name: None,
            credentials: Credentials {
                token: access.map(str::to_owned),
                ..Credentials::default()
            },
        };
        let call = Call {
            max_answer_bytes: MAX_BYTES,
            ..Call::within(FETCH_TIMEOUT)
        };
        let client = self.clients.client(&config).map_err(|e| e.to_string())?;
        client
            .get(call)
            .await
            .map_err(|error| format!("fetching {url}: {error}"))
    }
}

fn signed(token: &Jwt<'_>, keys: &[JsonWebKey]) -> bool {
    keys.iter()
        .filter(|key| key.answers_to(token.key_id()))
        .any(|key| {
            token
                .is_signed(|message, signature| key.verifies(token.algorithm(), message, signature))
        })
}
