//! Acting as somebody else, if the headers ask for it and the real user may.

use std::sync::Arc;

use apimachinery::status::Status;
use async_trait::async_trait;

use super::Stage;
use crate::{authn::impersonation::impersonate, authz::Authorizer, context::Context};

pub(super) struct Impersonation(pub(super) Arc<dyn Authorizer>);

#[async_trait]
impl Stage for Impersonation {
    async fn enter(&self, context: &mut Context) -> Result<(), Status> {
        let user = impersonate(&mut context.headers, &context.user, self.0.as_ref()).await?;
        if let Some(user) = user {
            context.impersonator = Some(std::mem::replace(&mut context.user, user));
        }
        Ok(())
    }
}
