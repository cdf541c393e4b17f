//! `authorization_*`: what the pipeline asked, and `apiserver_authorization_decisions_total`: who of the authorizers decided.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use base::metrics::{Counter, CounterSeries, Registry};

use super::{Attributes, Authorizer, Decision, rbac::Resolved};
use crate::{
    metrics::{Attempts, SECONDS},
    user::UserInfo,
};

const ALLOWED: &str = "allowed";
const DENIED: &str = "denied";
const NO_OPINION: &str = "no-opinion";

/// What is counted of the authorization of requests.
pub struct AuthorizationMetrics(Attempts<3>);

impl AuthorizationMetrics {
    /// Into `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self(Attempts::new(
            [ALLOWED, DENIED, NO_OPINION],
            registry.counter(
                "authorization_attempts_total",
                "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or 'error'.",
                &["result"],
            ),
            registry.histogram(
                "authorization_duration_seconds",
                "[ALPHA] Authorization duration in seconds broken out by result.",
                &["result"],
                SECONDS,
            ),
        ))
    }

    /// One question, and what all authorizers together said to it.
    pub fn decided(&self, decision: Decision, elapsed: Duration) {
        let result = match decision {
            Decision::Allow => ALLOWED,
            Decision::Deny => DENIED,
            Decision::NoOpinion => NO_OPINION,
        };
        self.0.record(result, elapsed);
    }
}

/// Counts what single authorizers decide.
#[derive(Clone)]
pub struct DecisionMetrics(Counter);

impl DecisionMetrics {
    /// Into `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self(registry.counter(
            "apiserver_authorization_decisions_total",
            "[ALPHA] Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.",
            &["decision", "name", "type"],
        ))
    }

    /// The same authorizer, counted. `sort` is its type as `AuthorizationConfiguration` names it; only a webhook's name is chosen by anybody.
    pub fn counted(
        &self,
        sort: &str,
        name: &str,
        authorizer: Arc<dyn Authorizer>,
    ) -> Arc<dyn Authorizer> {
        Arc::new(Counted {
            authorizer,
            sort: sort.to_owned(),
            name: name.to_owned(),
            decisions: self.0.clone(),
            allowed: OnceLock::new(),
            denied: OnceLock::new(),
        })
    }
}

struct Counted {
    authorizer: Arc<dyn Authorizer>,
    sort: String,
    name: String,
    decisions: Counter,
    allowed: OnceLock<CounterSeries>,
    denied: OnceLock<CounterSeries>,
}

#[async_trait]
impl Authorizer for Counted {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let answer = self.authorizer.authorize(attributes).await;
        let (series, decision) = match answer.0 {
            Decision::Allow => (&self.allowed, ALLOWED),
            Decision::Deny => (&self.denied, DENIED),
            // The next one is asked: nothing has been decided.
            Decision::NoOpinion => return answer,
        };
        series
            .get_or_init(|| self.decisions.series(&[decision, &self.name, &self.sort]))
            .increment();
        answer
    }

    fn rules_for(&self, user: &UserInfo, namespace: &str) -> Resolved {
        self.authorizer.rules_for(user, namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        authz::{AlwaysAllow, AlwaysDeny},
        request_info::RequestInfo,
        user::UserInfo,
    };

    #[tokio::test]
    async fn only_decisions_are_counted() {
        let registry = Registry::new();
        let metrics = DecisionMetrics::new(&registry);
        let all: [Arc<dyn Authorizer>; 2] = [Arc::new(AlwaysAllow), Arc::new(AlwaysDeny)];
        let (user, request) = (UserInfo::default(), RequestInfo::default());
        for authorizer in all {
            let attributes = Attributes {
                user: &user,
                request: &request,
            };
            let authorizer = metrics.counted("Webhook", "mine", authorizer);
            authorizer.authorize(attributes).await;
        }
        let shown = registry.encode();
        let allowed = "apiserver_authorization_decisions_total{decision=\"allowed\",name=\"mine\",type=\"Webhook\"} 1";
        assert!(shown.contains(allowed), "{shown}");
        assert!(!shown.contains("no-opinion"), "{shown}");
    }
}
