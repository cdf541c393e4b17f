//! The audit log begins: from here on it is known who asks. In strict mode a request whose coming cannot be written goes no further.

use std::sync::Arc;

use apimachinery::status::Status;
use async_trait::async_trait;
use http::Request;

use super::{Refusal, Stage};
use crate::{audit, body::Body, context::Context};

pub(super) struct Audit(pub(super) Arc<audit::Audit>);

#[async_trait]
impl Stage for Audit {
    fn filter(&self) -> Option<&'static str> {
        Some("audit")
    }

    async fn enter(&self, context: &mut Context, _: &mut Request<Body>) -> Result<(), Refusal> {
        context.audit = self.0.begin(context);
        if let Some(record) = &context.audit
            && self.0.received(record).await.is_err()
        {
            return Err(Status::internal("failed to store audit event").into());
        }
        Ok(())
    }
}
