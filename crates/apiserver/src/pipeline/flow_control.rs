//! Whether they may now: priority and fairness. Who is refused hears 429 in plain text, as from upstream.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderValue, Request, Response, StatusCode, header};

use super::{Refusal, Stage};
use crate::{
    body::Body,
    context::Context,
    flow_control::{FlowControl, Refused},
};

pub(super) struct PriorityAndFairness(pub(super) Arc<FlowControl>);

#[async_trait]
impl Stage for PriorityAndFairness {
    fn filter(&self) -> Option<&'static str> {
        Some("priorityandfairness")
    }

    async fn enter(&self, context: &mut Context, _: &mut Request<Body>) -> Result<(), Refusal> {
        match self.0.enter(context).await {
            Ok(leave) => {
                context.leave = leave;
                Ok(())
            }
            Err(Refused {
                retry_after_seconds,
            }) => {
                let answer = too_many_requests(retry_after_seconds);
                Err(Refusal::Answer(Box::new(answer)))
            }
        }
    }
}

pub(super) fn too_many_requests(retry_after_seconds: u32) -> Response<Body> {
    let text = "Too many requests, please try again later.\n".to_owned();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, fixed("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(header::RETRY_AFTER, retry_after_seconds.into());
    response
}
