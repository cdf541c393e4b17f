//! Bearer tokens that somebody else judges: `--authentication-token-webhook-config-file`.
//!
//! The webhook is sent a TokenReview and answers with its status. Answers of either sort are remembered for `--authentication-token-webhook-cache-ttl`;
//! a webhook that cannot be reached is asked again a few times, and its answer is then "not one of mine" with an error.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use apimachinery::Object;
use async_trait::async_trait;
use base::Clock;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Authenticated, AuthenticationError, TokenAuthenticator,
    cache::{self, Cache},
};
use crate::{
    lookup,
    user::UserInfo,
    webhook_client::{Call, CallError, WebhookClient},
};

/// How long a call may take, as upstream.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Upstream's `DefaultRetryBackoff`: half a second, half as much again each time, five attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const ATTEMPTS: u32 = 5;
/// A TokenReview is small.
const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A version of a review API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReviewVersion {
    /// Upstream's default.
    #[default]
    V1Beta1,
    /// What every webhook should speak by now.
    V1,
}

impl ReviewVersion {
    /// `v1` or `v1beta1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V1Beta1 => "v1beta1",
            Self::V1 => "v1",
        }
    }
}

impl std::str::FromStr for ReviewVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "v1beta1" => Ok(Self::V1Beta1),
            "v1" => Ok(Self::V1),
            _ => Err(format!("{text:?} is neither v1 nor v1beta1")),
        }
    }
}

/// Asks a webhook whose a token is.
pub struct TokenWebhook {
    client: Arc<WebhookClient>,
    version: ReviewVersion,
    audiences: Vec<String>,
    ttl: Duration,
    clock: Clock,
    /// Whom tokens belong to; nobody for those that the webhook does not know.
    known: Cache<Option<Authenticated>>,
}

impl TokenWebhook {
    /// Asks by `client`, for tokens for `audiences`.
    pub fn new(
        client: Arc<WebhookClient>,
        version: ReviewVersion,
        audiences: Vec<String>,
        ttl: Duration,
        clock: Clock,
    ) -> Self {
        Self {
            client,
            version,
            audiences,
            ttl,
            clock,
            known: Cache::default(),
        }
    }

    async fn review(&self, token: &str) -> Result<Option<Authenticated>, AuthenticationError> {
        let review = json!({
            "kind": "TokenReview",
            "apiVersion": format!("authentication.k8s.io/{}", self.version.name()),
            "metadata": {},
            "spec": {"token": token, "audiences": self.audiences},
            "status": {"user": {}},
        });
        let call = Call {
            max_answer_bytes: MAX_ANSWER_BYTES,
            ..Call::within(TIMEOUT)
        };
        let answer = post(
            &self.client,
            Bytes::from(review.to_string()),
            call,
            &self.clock,
        )
        .await
        .map_err(|error| AuthenticationError(error.to_string()))?;
        let answer: Object = serde_json::from_slice(&answer)
            .map_err(|error| AuthenticationError(format!("webhook's answer: {error}")))?;
        self.judge(&answer)
    }

    fn judge(&self, answer: &Object) -> Result<Option<Authenticated>, AuthenticationError> {
        let text = |path: &[&str]| lookup::text(answer, path).to_owned();
        if lookup::flag(answer, &["status", "authenticated"]) != Some(true) {
            let error = text(&["status", "error"]);
            return if error.is_empty() {
                Ok(None)
            } else {
                Err(AuthenticationError(error))
            };
        }
        let mut audiences = self.audiences.clone();
        let named = lookup::strings(answer, &["status", "audiences"]);
        if !named.is_empty() {
            audiences.retain(|audience| named.contains(audience));
            if audiences.is_empty() {
                return Ok(None);
            }
        }
        let extra: BTreeMap<String, Vec<String>> =
            lookup::map(answer, &["status", "user", "extra"])
                .into_iter()
                .flatten()
                .map(|(key, values)| {
                    let values = values.as_array().into_iter().flatten();
                    let values = values.filter_map(Value::as_str).map(str::to_owned);
                    (key.clone(), values.collect())
                })
                .collect();
        Ok(Some(Authenticated {
            user: UserInfo {
                name: text(&["status", "user", "username"]),
                uid: text(&["status", "user", "uid"]),
                groups: lookup::strings(answer, &["status", "user", "groups"]),
                extra,
            },
            audiences,
            ..Authenticated::default()
        }))
    }
}

#[async_trait]
impl TokenAuthenticator for TokenWebhook {
    async fn authenticate_token(
        &self,
        token: &str,
    ) -> Result<Option<Authenticated>, AuthenticationError> {
        let key = cache::key([token.as_bytes()]);
        if let Some(known) = self.known.get(&key, self.clock.now()) {
            return Ok(known);
        }
        let found = self.review(token).await?;
        self.known
            .put(key, found.clone(), self.clock.now(), self.ttl);
        Ok(found)
    }
}

/// Posts, again and again where that may help.
pub(crate) async fn post(
    client: &WebhookClient,
    body: Bytes,
    call: Call,
    clock: &Clock,
) -> Result<Bytes, CallError> {
    post_with_pause(client, body, call, clock, FIRST_PAUSE).await
}

/// The same, with another pause after the first failure.
pub(crate) async fn post_with_pause(
    client: &WebhookClient,
    body: Bytes,
    call: Call,
    clock: &Clock,
    mut pause: Duration,
) -> Result<Bytes, CallError> {
    for _ in 1..ATTEMPTS {
        match client.post(body.clone(), call).await {
            Err(error) if error.is_retryable() => {
                tracing::debug!(%error, "a webhook is asked again");
                clock.sleep_until(clock.now() + pause).await;
                pause = pause * 3 / 2;
            }
            answer => return answer,
        }
    }
    client.post(body, call).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory_reader::MemoryReader,
        webhook_client::{
            ClientConfig, Credentials, Target, Trust, WebhookClients, test_server::TestServer,
        },
    };
    use base::TaskGroup;
    use http::StatusCode;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn the_webhook_says_whose_a_token_is_and_is_not_asked_twice() {
        let server = TestServer::start(&["localhost"], |called| {
            Box::pin(async move {
                let review = called.json();
                assert_eq!(review["apiVersion"], "authentication.k8s.io/v1");
                let status = match review["spec"]["token"].as_str().unwrap() {
                    "alices" => json!({
                        "authenticated": true, "audiences": ["api", "x"],
                        "user": {"username": "alice", "groups": ["g"], "extra": {"k": ["v"]}},
                    }),
                    "others" => json!({"authenticated": true, "audiences": ["x"]}),
                    "bad" => json!({"authenticated": false, "error": "expired"}),
                    "broken" => return (StatusCode::OK, Bytes::from("[")),
                    _ => json!({"authenticated": false}),
                };
                let answer = json!({"status": status});
                (StatusCode::OK, Bytes::from(answer.to_string()))
            })
        })
        .await;
        let tasks = TaskGroup::new(&CancellationToken::new());
        let clients = WebhookClients::new(Arc::new(MemoryReader::default()), tasks);
        let config = ClientConfig {
            target: Target::Url(format!("https://localhost:{}/", server.address.port())),
            trust: Trust::Authorities(server.authority.clone().into()),
            server_name: None,
            credentials: Credentials::default(),
        };
        let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
        let webhook = TokenWebhook::new(
            clients.client(&config).unwrap(),
            ReviewVersion::V1,
            vec!["api".to_owned()],
            Duration::from_secs(120),
            clock.clone(),
        );
        let calls = || server.peers.lock().unwrap().len();
        for _ in 0..3 {
            let found = webhook.authenticate_token("alices").await.unwrap().unwrap();
            assert_eq!(found.user.name, "alice");
            assert_eq!(found.user.extra["k"], ["v"]);
            assert_eq!(found.audiences, ["api"]);
        }
        assert_eq!(calls(), 1);
        clock.advance(Duration::from_secs(121));
        assert!(webhook.authenticate_token("alices").await.is_ok());
        assert_eq!(calls(), 2);
        assert!(
            webhook
                .authenticate_token("unknown")
                .await
                .unwrap()
                .is_none()
        );
        assert!(
            webhook
                .authenticate_token("others")
                .await
                .unwrap()
                .is_none()
        );
        let error = webhook.authenticate_token("bad").await.unwrap_err();
        assert_eq!(error.0, "expired");
        assert!(webhook.authenticate_token("broken").await.is_err());
    }
}
