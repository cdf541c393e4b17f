//! Who asks. Bad credentials, and none where anonymous requests are off, end in 401 "Unauthorized" without a reason.

use std::sync::Arc;

use apimachinery::status::Status;
use async_trait::async_trait;

use super::{Refusal, Stage};
use crate::{authn::Authenticator, context::Context};

pub(super) struct Authentication(pub(super) Arc<dyn Authenticator>);

#[async_trait]
impl Stage for Authentication {
    async fn enter(&self, context: &mut Context) -> Result<(), Refusal> {
        let found = self
            .0
            .authenticate(&context.headers, &context.peer, &context.info.path);
        match found.await {
            Ok(Some(authenticated)) => {
                context.user = authenticated.user;
                // Nobody behind this stage has a use for the credentials, and a proxy must not pass them on.
                self.0.strip(&mut context.headers);
                Ok(())
            }
            Ok(None) => Err(Status::unauthorized("Unauthorized").into()),
            Err(error) => {
                tracing::debug!(%error, path = context.info.path, "authentication failed");
                Err(Status::unauthorized("Unauthorized").into())
            }
        }
    }
}
