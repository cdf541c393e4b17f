//! Whether they may.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use http::Request;

use super::{Refusal, Stage};
use crate::{
    authz::{Attributes, AuthorizationMetrics, Authorizer, Decision, forbidden},
    body::Body,
    context::Context,
};

pub(super) struct Authorization {
    pub(super) authorizer: Arc<dyn Authorizer>,
    pub(super) metrics: AuthorizationMetrics,
}

#[async_trait]
impl Stage for Authorization {
    fn filter(&self) -> Option<&'static str> {
        Some("authorization")
    }

    async fn enter(&self, context: &mut Context, _: &mut Request<Body>) -> Result<(), Refusal> {
        let attributes = Attributes {
            user: &context.user,
            request: &context.info,
        };
        let start = Instant::now();
        let (decision, reason) = self.authorizer.authorize(attributes).await;
        self.metrics.decided(decision, start.elapsed());
        let allowed = decision == Decision::Allow;
        if context.audit.is_some() {
            let decision = if allowed { "allow" } else { "forbid" };
            context.annotate("authorization.k8s.io/decision", decision);
            context.annotate("authorization.k8s.io/reason", reason.clone());
        }
        if allowed {
            return Ok(());
        }
        Err(forbidden(attributes, &reason).into())
    }
}
