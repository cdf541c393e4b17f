//! Whether they may.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Refusal, Stage};
use crate::{
    authz::{Attributes, Authorizer, Decision, forbidden},
    context::Context,
};

pub(super) struct Authorization(pub(super) Arc<dyn Authorizer>);

#[async_trait]
impl Stage for Authorization {
    async fn enter(&self, context: &mut Context) -> Result<(), Refusal> {
        let attributes = Attributes {
            user: &context.user,
            request: &context.info,
        };
        let (decision, reason) = self.0.authorize(attributes).await;
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
