//! Whether they may: a SubjectAccessReview, whose answer is remembered for a while.

use std::time::Duration;

use base::Clock;
use client::Client;
use k8s_openapi::api::authorization::v1::{
    NonResourceAttributes, ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};

use crate::{
    authentication::User,
    expiring_cache::ExpiringCache,
    review::{ReviewError, ask},
};

const MAX_DECISIONS: usize = 4096;

/// What somebody wants to do.
#[derive(Clone, Debug)]
pub enum Access<'a> {
    /// With a path that is no resource's.
    Path {
        /// The method, in small letters.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
    /// With a resource.
    Resource(Box<ResourceAttributes>),
}

/// What the API server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether they may.
    pub allowed: bool,
    /// Why; may be empty.
    pub reason: String,
}

/// Asks the API server, and remembers what it said.
pub struct Authorization {
    client: Client,
    allowed_ttl: Duration,
    denied_ttl: Duration,
    /// By the review's spec, as JSON.
    decisions: ExpiringCache<String, Decision>,
}

impl Authorization {
    /// Asks with `client`; permissions are remembered for `allowed_ttl`, refusals for `denied_ttl`.
    pub fn new(client: Client, allowed_ttl: Duration, denied_ttl: Duration, clock: Clock) -> Self {
        Self {
            client,
            allowed_ttl,
            denied_ttl,
            decisions: ExpiringCache::new(MAX_DECISIONS, clock),
        }
    }

    /// Whether `user` may.
    pub async fn decide(&self, user: &User, access: Access<'_>) -> Result<Decision, ReviewError> {
        let (path, resource) = match access {
            Access::Path { verb, path } => (
                Some(NonResourceAttributes {
                    verb: Some(verb.to_owned()),
                    path: Some(path.to_owned()),
                }),
                None,
            ),
            Access::Resource(attributes) => (None, Some(*attributes)),
        };
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone().into_iter().collect()),
            resource_attributes: resource,
            non_resource_attributes: path,
        };
        let key = serde_json::to_string(&spec)?;
        if let Some(decided) = self.decisions.get(&key) {
            return Ok(decided);
        }
        let review = SubjectAccessReview {
            spec,
            ..SubjectAccessReview::default()
        };
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let status = ask(&self.client, path, &review)
            .await?
            .status
            .unwrap_or_default();
        let decision = Decision {
            allowed: status.allowed,
            reason: status.reason.unwrap_or_default(),
        };
        let ttl = match decision.allowed {
            true => self.allowed_ttl,
            false => self.denied_ttl,
        };
        self.decisions.insert(key, decision.clone(), ttl);
        Ok(decision)
    }
}
