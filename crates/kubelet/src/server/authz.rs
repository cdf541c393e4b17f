//! Whether they may: a SubjectAccessReview on the subresource of `nodes` that the path stands for.
//!
//! Follows upstream with fine-grained kubelet authorization: some paths are allowed by a subresource of their own or by `nodes/proxy`.

use std::time::Duration;

use base::Clock;
use client::Client;
use http::{Method, StatusCode};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};

use super::{
    authn::{User, ask},
    body::Refusal,
    cache::ExpiringCache,
};

/// `authorization.webhook.cacheAuthorizedTTL`.
const ALLOWED_TTL: Duration = Duration::from_secs(300);
/// `authorization.webhook.cacheUnauthorizedTTL`.
const DENIED_TTL: Duration = Duration::from_secs(30);
const MAX_DECISIONS: usize = 4096;

pub(super) struct Authorization {
    /// None: everything is allowed.
    client: Option<Client>,
    node_name: String,
    /// By the review's spec, as JSON.
    decisions: ExpiringCache<String, bool>,
}

impl Authorization {
    pub(super) fn new(client: Option<Client>, node_name: &str, clock: Clock) -> Self {
        let decisions = ExpiringCache::new(MAX_DECISIONS, clock);
        Self {
            client,
            node_name: node_name.to_owned(),
            decisions,
        }
    }

    pub(super) async fn authorize(
        &self,
        user: &User,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        let Some(client) = &self.client else {
            return Ok(());
        };
        let verb = verb(method);
        let subresources = subresources(path);
        let describe = || {
            format!(
                "(user={}, verb={verb}, resource=nodes, subresource(s)=[{}])",
                user.name,
                subresources.join(" ")
            )
        };
        for subresource in subresources {
            let allowed = self
                .may(client, user, verb, subresource)
                .await
                .map_err(|error| {
                    tracing::warn!(%error, "cannot review access");
                    Refusal::internal(format!("Authorization error {}", describe()))
                })?;
            if allowed {
                return Ok(());
            }
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!("Forbidden {}", describe()),
        ))
    }

    async fn may(
        &self,
        client: &Client,
        user: &User,
        verb: &str,
        subresource: &str,
    ) -> Result<bool, super::authn::AskError> {
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone().into_iter().collect()),
            resource_attributes: Some(ResourceAttributes {
                verb: Some(verb.to_owned()),
                version: Some("v1".to_owned()),
                resource: Some("nodes".to_owned()),
                subresource: Some(subresource.to_owned()),
                name: Some(self.node_name.clone()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
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
        let answer = ask(client, path, &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        self.decisions
            .insert(key, allowed, if allowed { ALLOWED_TTL } else { DENIED_TTL });
        Ok(allowed)
    }
}

fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// Subresources any of which allows a path, in the order they are asked.
fn subresources(path: &str) -> &'static [&'static str] {
    let is_under = |prefix: &str| {
        path.strip_prefix(prefix)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    /// Paths and what allows them; all others are the proxy's.
    const TABLE: &[(&str, &[&str])] = &[
        ("/stats", &["stats"]),
        ("/metrics", &["metrics"]),
        ("/logs", &["log"]),
        ("/checkpoint", &["checkpoint"]),
        ("/pods", &["pods", "proxy"]),
        ("/runningpods", &["pods", "proxy"]),
        ("/healthz", &["healthz", "proxy"]),
        ("/configz", &["configz", "proxy"]),
    ];
    TABLE
        .iter()
        .find(|(prefix, _)| is_under(prefix))
        .map_or(&["proxy"], |(_, found)| found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_subresources_of_nodes() {
        for (path, expected) in [
            ("/stats/summary", &["stats"] as &[&str]),
            ("/metrics", &["metrics"]),
            ("/metrics/cadvisor", &["metrics"]),
            ("/metricsx", &["proxy"]),
            ("/logs/", &["log"]),
            ("/pods", &["pods", "proxy"]),
            ("/runningpods/", &["pods", "proxy"]),
            ("/healthz", &["healthz", "proxy"]),
            ("/healthz/syncloop", &["healthz", "proxy"]),
            ("/exec/d/p/c", &["proxy"]),
            ("/containerLogs/d/p/c", &["proxy"]),
            ("/portForward/d/p", &["proxy"]),
        ] {
            assert_eq!(subresources(path), expected, "{path}");
        }
        assert_eq!(
            (verb(&Method::POST), verb(&Method::HEAD)),
            ("create", "get")
        );
    }
}
