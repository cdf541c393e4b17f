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
        match self.0.authorize(attributes).await {
            (Decision::Allow, _) => Ok(()),
            (_, reason) => Err(forbidden(attributes, &reason).into()),
        }
    }
}
