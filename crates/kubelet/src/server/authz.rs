//! Whether they may: a SubjectAccessReview on the subresource of `nodes` that the path stands for.
//!
//! Follows upstream with fine-grained kubelet authorization: some paths are allowed by a subresource of their own or by `nodes/proxy`.

use std::time::Duration;

use base::Clock;
use client::Client;
use component_base::{Access, Authorization, User};
use http::{Method, StatusCode};
use k8s_openapi::api::authorization::v1::ResourceAttributes;

use super::body::Refusal;

/// `authorization.webhook.cacheAuthorizedTTL`.
const ALLOWED_TTL: Duration = Duration::from_secs(300);
/// `authorization.webhook.cacheUnauthorizedTTL`.
const DENIED_TTL: Duration = Duration::from_secs(30);

pub(super) struct NodeAuthorization {
    /// None: everything is allowed.
    reviews: Option<Authorization>,
    node_name: String,
}

impl NodeAuthorization {
    pub(super) fn new(client: Option<Client>, node_name: &str, clock: Clock) -> Self {
        let asks = |client| Authorization::new(client, ALLOWED_TTL, DENIED_TTL, clock);
        Self {
            reviews: client.map(asks),
            node_name: node_name.to_owned(),
        }
    }

    pub(super) async fn authorize(
        &self,
        user: &User,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        let Some(reviews) = &self.reviews else {
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
            let access = Access::Resource(Box::new(self.attributes(verb, subresource)));
            let decision = reviews.decide(user, access).await.map_err(|error| {
                tracing::warn!(%error, "cannot review access");
                Refusal::internal(format!("Authorization error {}", describe()))
            })?;
            if decision.allowed {
                return Ok(());
            }
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!("Forbidden {}", describe()),
        ))
    }

    fn attributes(&self, verb: &str, subresource: &str) -> ResourceAttributes {
        ResourceAttributes {
            verb: Some(verb.to_owned()),
            version: Some("v1".to_owned()),
            resource: Some("nodes".to_owned()),
            subresource: Some(subresource.to_owned()),
            name: Some(self.node_name.clone()),
            ..ResourceAttributes::default()
        }
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
        ("/statusz", &["statusz"]),
        ("/flagz", &["configz"]),
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
            ("/statusz", &["statusz"]),
            ("/flagz", &["configz"]),
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
