//! Speaking as a service account: the token is asked for (TokenRequest) by somebody who may, renewed before it ends, and sent along by a
//! transport that has no credentials of its own.
//!
//! This is how each controller gets an identity, and no more rights than it needs (`--use-service-account-credentials`). Follows
//! client-go's dynamic client builder: an hour's token, renewed when a fifth of its life is left; the account is made where it is missing.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base::Clock;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{Namespace, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    client::Client,
    error::{ApiError, TransportError},
    transport::{Body, Transport, Upgraded},
};

/// How long a token is good.
const LIFETIME: Duration = Duration::from_secs(3600);
/// When it is renewed.
const RENEWED_AFTER: Duration = Duration::from_secs(LIFETIME.as_secs() / 5 * 4);

/// Sends requests as a service account.
pub struct ServiceAccountTransport {
    namespace: String,
    name: String,
    /// May ask for the account's tokens, and make the account.
    issuer: Client,
    bare: Arc<dyn Transport>,
    clock: Clock,
    token: Mutex<Option<Token>>,
    /// Held while a token is asked for.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    renewed_at: Timestamp,
}

impl ServiceAccountTransport {
    /// As `namespace/name`, with tokens that `issuer` asks for, over `bare`, which adds no credentials.
    pub fn new(
        namespace: &str,
        name: &str,
        issuer: Client,
        bare: Arc<dyn Transport>,
        clock: Clock,
    ) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            issuer,
            bare,
            clock,
            token: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    fn current(&self) -> Option<HeaderValue> {
        let token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let token = token.as_ref()?;
        (self.clock.now() < token.renewed_at).then(|| token.header.clone())
    }

    async fn authorization(&self) -> Result<HeaderValue, TransportError> {
        if let Some(header) = self.current() {
            return Ok(header);
        }
        let _asking = self.asking.lock().await;
        if let Some(header) = self.current() {
            return Ok(header);
        }
        let now = self.clock.now();
        let token = self.ask().await.map_err(|error| {
            let account = format!("{}/{}", self.namespace, self.name);
            TransportError::Credentials(format!("a token of {account}: {error}").into())
        })?;
        let mut header = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| TransportError::Credentials("the token is not a header value".into()))?;
        header.set_sensitive(true);
        let kept = Token {
            header: header.clone(),
            renewed_at: now + RENEWED_AFTER,
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(header)
    }

    async fn ask(&self) -> Result<String, ApiError> {
        let accounts = self.issuer.api::<ServiceAccount>(&self.namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                expiration_seconds: i64::try_from(LIFETIME.as_secs()).ok(),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let answer = match accounts.create_token(&self.name, &request).await {
            Err(error) if error.is_not_found() => {
                self.create_account().await?;
                accounts.create_token(&self.name, &request).await?
            }
            answer => answer?,
        };
        let token = answer.status.and_then(|status| status.token);
        Ok(token.unwrap_or_default())
    }

    async fn create_account(&self) -> Result<(), ApiError> {
        let named = |name: &str, namespace: Option<&str>| ObjectMeta {
            name: Some(name.to_owned()),
            namespace: namespace.map(str::to_owned),
            ..ObjectMeta::default()
        };
        let account = ServiceAccount {
            metadata: named(&self.name, Some(&self.namespace)),
            ..ServiceAccount::default()
        };
        let accounts = self.issuer.api::<ServiceAccount>(&self.namespace);
        match accounts.create(&account).await {
            Err(error) if error.is_not_found() => {
                let namespace = Namespace {
                    metadata: named(&self.namespace, None),
                    ..Namespace::default()
                };
                allow_existing(self.issuer.api::<Namespace>("").create(&namespace).await)?;
                allow_existing(accounts.create(&account).await)
            }
            made => allow_existing(made),
        }
    }

    /// Forgets a token that the server did not take: its account may have been made anew, or the keys exchanged.
    fn forget(&self, refused: &HeaderValue) {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if token.as_ref().is_some_and(|token| token.header == refused) {
            *token = None;
        }
    }
}

fn allow_existing<T>(made: Result<T, ApiError>) -> Result<(), ApiError> {
    match made {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

#[async_trait]
impl Transport for ServiceAccountTransport {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Body>, TransportError> {
        let header = self.authorization().await?;
        let mut again = request.clone();
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, header.clone());
        let response = self.bare.send(request).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.forget(&header);
        let header = self.authorization().await?;
        again.headers_mut().insert(header::AUTHORIZATION, header);
        self.bare.send(again).await
    }

    async fn upgrade(&self, mut request: Request<Bytes>) -> Result<Upgraded, TransportError> {
        let header = self.authorization().await?;
        request.headers_mut().insert(header::AUTHORIZATION, header);
        self.bare.upgrade(request).await
    }
}
