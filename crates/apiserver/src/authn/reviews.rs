//! `tokenreviews` and `selfsubjectreviews`: who does this token belong to, who am I.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, status::Status};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{ServiceAccountTokens, TokenAuthenticator, bearer, union::with_authenticated_group};
use crate::{
    lookup,
    user::UserInfo,
    virtual_resource::{Question, VirtualResource},
};

const GROUP: &str = "authentication.k8s.io";

/// Answers `TokenReview`: how kubelets, webhooks and aggregated servers authenticate with our credentials.
pub struct TokenReview {
    /// Knows the tokens.
    pub tokens: Arc<dyn TokenAuthenticator>,
    /// For reviews that name other audiences than the API's.
    pub service_accounts: Option<Arc<ServiceAccountTokens>>,
    /// `--api-audiences`.
    pub audiences: Vec<String>,
}

#[async_trait]
impl VirtualResource for TokenReview {
    fn resource(&self) -> GroupResource {
        GroupResource::new(GROUP, "tokenreviews")
    }

    async fn create(&self, question: Question<'_>) -> Result<Object, Status> {
        let mut review = question.object;
        if !lookup::text(&review, &["metadata", "namespace"]).is_empty() {
            return Err(Status::bad_request("namespace is not allowed on this type"));
        }
        let token = lookup::text(&review, &["spec", "token"]).to_owned();
        if token.is_empty() {
            return Err(Status::bad_request(
                "token is required for TokenReview in authentication",
            ));
        }
        // Upstream asks about a request that carries the token, where what is written around it does not count.
        let token = bearer::from_value(&format!("Bearer {token}")).unwrap_or(token);
        let mut asked = lookup::strings(&review, &["spec", "audiences"]);
        if asked.is_empty() {
            asked.clone_from(&self.audiences);
        }
        let answer = match &self.service_accounts {
            Some(accounts) if !asked.is_empty() && asked != self.audiences => {
                match accounts.authenticate_for(&token, &asked).await {
                    // Other sorts of tokens are good for the API's own audiences.
                    Ok(None)
                        if asked
                            .iter()
                            .any(|audience| self.audiences.contains(audience)) =>
                    {
                        self.tokens.authenticate_token(&token).await
                    }
                    answer => answer,
                }
            }
            _ => self.tokens.authenticate_token(&token).await,
        };
        let status = match answer {
            Ok(Some(found)) => {
                let found = with_authenticated_group(found);
                let mut status = json!({"authenticated": true, "user": to_value(&found.user)});
                let audiences = match found.audiences {
                    own if !own.is_empty() => own,
                    _ => asked
                        .into_iter()
                        .filter(|audience| self.audiences.contains(audience))
                        .collect(),
                };
                if !audiences.is_empty() {
                    status["audiences"] = audiences.into();
                }
                status
            }
            Ok(None) => json!({"user": {}, "error": "invalid bearer token"}),
            Err(error) => {
                json!({"user": {}, "error": format!("[invalid bearer token, {}]", error.0)})
            }
        };
        review.insert("status".to_owned(), status);
        Ok(review)
    }
}

/// Answers `SelfSubjectReview`: `kubectl auth whoami`.
pub struct SelfSubjectReview {
    /// For the creation time.
    pub clock: base::Clock,
}

#[async_trait]
impl VirtualResource for SelfSubjectReview {
    fn resource(&self) -> GroupResource {
        GroupResource::new(GROUP, "selfsubjectreviews")
    }

    async fn create(&self, question: Question<'_>) -> Result<Object, Status> {
        let mut review = question.object;
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        review.insert("metadata".to_owned(), json!({"creationTimestamp": now}));
        review.insert(
            "status".to_owned(),
            json!({"userInfo": to_value(question.user)}),
        );
        Ok(review)
    }
}

/// As `authentication.k8s.io/v1 UserInfo`.
pub fn to_value(user: &UserInfo) -> Value {
    let mut value = json!({"username": user.name});
    if !user.uid.is_empty() {
        value["uid"] = user.uid.as_str().into();
    }
    if !user.groups.is_empty() {
        value["groups"] = user.groups.clone().into();
    }
    if !user.extra.is_empty() {
        value["extra"] = json!(user.extra);
    }
    value
}
