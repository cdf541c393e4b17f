//! Bound tokens of service accounts, through TokenRequest, kept until four fifths of their life (or a day) have passed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;
use base::Clock;
use client::Client;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection},
};

use super::VolumeError;
use crate::pod::{name, namespace, spec, uid};

/// A token and when it is to be renewed.
#[derive(Clone, Debug)]
pub struct Token {
    text: String,
    renew_at: Timestamp,
    expires_at: Timestamp,
}

/// Where tokens come from.
#[async_trait]
pub trait TokenSource: Send + Sync {
    /// A token for the pod's service account, good for a while.
    async fn token(
        &self,
        pod: &Pod,
        projection: &ServiceAccountTokenProjection,
    ) -> Result<String, VolumeError>;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    pod_uid: String,
    audience: Option<String>,
    expiration_seconds: i64,
}

/// Tokens from the API server. Bounded by the token volumes of the pods of this node.
pub struct TokenManager {
    client: Option<Client>,
    clock: Clock,
    tokens: Mutex<HashMap<Key, Token>>,
}

impl TokenManager {
    /// Of this server; without one there are no tokens.
    pub fn new(client: Option<Client>, clock: Clock) -> Self {
        Self {
            client,
            clock,
            tokens: Mutex::default(),
        }
    }

    /// Forgets the tokens of a pod.
    pub fn forget(&self, pod_uid: &str) {
        self.lock().retain(|key, _| key.pod_uid != pod_uid);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request(&self, pod: &Pod, key: &Key) -> Result<Token, VolumeError> {
        let client = self.client.as_ref().ok_or_else(|| {
            VolumeError::Token(
                "cannot use TokenManager when kubelet is in standalone mode".to_owned(),
            )
        })?;
        let account = spec(pod)
            .service_account_name
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: Some(key.audience.iter().cloned().collect()),
                expiration_seconds: Some(key.expiration_seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: Some(name(pod).to_owned()),
                    uid: Some(uid(pod).to_owned()),
                }),
            }),
            ..TokenRequest::default()
        };
        let answer = client
            .api::<ServiceAccount>(namespace(pod))
            .create_token(&account, &request)
            .await
            .map_err(|error| VolumeError::Token(error.to_string()))?;
        let status = answer.status.unwrap_or_default();
        let (Some(text), Some(expires)) = (status.token, status.expiration_timestamp) else {
            return Err(VolumeError::Token("the answer has no token".to_owned()));
        };
        let now = self.clock.now();
        let life = expires.0.duration_since(now);
        let wait = (life * 4 / 5).min(SignedDuration::from_hours(24));
        Ok(Token {
            text,
            renew_at: now.checked_add(wait).unwrap_or(now),
            expires_at: expires.0,
        })
    }
}

#[async_trait]
impl TokenSource for TokenManager {
    async fn token(
        &self,
        pod: &Pod,
        projection: &ServiceAccountTokenProjection,
    ) -> Result<String, VolumeError> {
        let key = Key {
            pod_uid: uid(pod).to_owned(),
            audience: projection
                .audience
                .clone()
                .filter(|audience| !audience.is_empty()),
            expiration_seconds: projection.expiration_seconds.unwrap_or(3600),
        };
        let known = self.lock().get(&key).cloned();
        let now = self.clock.now();
        if let Some(token) = known.as_ref().filter(|token| now < token.renew_at) {
            return Ok(token.text.clone());
        }
        match (self.request(pod, &key).await, known) {
            (Ok(token), _) => {
                let text = token.text.clone();
                self.lock().insert(key, token);
                Ok(text)
            }
            // While the server is away the old one does as long as it lives.
            (Err(_), Some(token)) if now < token.expires_at => Ok(token.text),
            (Err(error), _) => Err(error),
        }
    }
}
