//! Spans begin: whether a request is traced depends on whose it is, which is known from here on.

use async_trait::async_trait;
use http::Request;

use super::{Refusal, Stage};
use crate::{body::Body, context::Context, traces::Tracer};

pub(super) struct Spans(pub(super) Tracer);

#[async_trait]
impl Stage for Spans {
    fn filter(&self) -> Option<&'static str> {
        None
    }

    async fn enter(
        &self,
        context: &mut Context,
        request: &mut Request<Body>,
    ) -> Result<(), Refusal> {
        context.span = self.0.begin(context, request.method());
        Ok(())
    }
}
