//! Acting as somebody else, if the headers ask for it and the real user may.

use std::sync::Arc;

use async_trait::async_trait;
use http::Request;

use super::{Refusal, Stage};
use crate::{
    authn::impersonation::{ImpersonationMetrics, Impersonator},
    authz::Authorizer,
    body::Body,
    context::Context,
};

pub(super) struct Impersonation(Impersonator);

impl Impersonation {
    pub(super) fn new(authorizer: Arc<dyn Authorizer>, metrics: ImpersonationMetrics) -> Self {
        Self(Impersonator::new(authorizer, metrics))
    }
}

#[async_trait]
impl Stage for Impersonation {
    fn filter(&self) -> Option<&'static str> {
        Some("constrainedimpersonation")
    }

    async fn enter(&self, context: &mut Context, _: &mut Request<Body>) -> Result<(), Refusal> {
        let Context {
            headers,
            user,
            info,
            ..
        } = context;
        if let Some(found) = self.0.impersonate(headers, user, info).await? {
            context.impersonator = Some(std::mem::replace(&mut context.user, found.user));
            context.impersonation_constraint = found.constraint;
        }
        Ok(())
    }
}
