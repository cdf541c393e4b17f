//! The way of every request, from the connection or from within the process.
//!
//! The stages stand in the order of [`Pipeline::stages`]; each may end the request with an answer. What comes out passes
//! [`finish`] on its way back: the headers that every answer carries.

mod authentication;
mod authorization;
mod finish;
mod flow_control;
mod impersonation;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use apimachinery::status::Status;
use async_trait::async_trait;
use futures_util::FutureExt as _;
use http::{Request, Response};

use crate::{
    authn::{Authenticator, Peer},
    authz::Authorizer,
    body::Body,
    context::Context,
    flow_control::FlowControl,
    metrics::Metrics,
    negotiation::status_response,
    request_info::RequestInfo,
};

/// A stage: learns something about the request or ends it.
#[async_trait]
trait Stage: Send + Sync {
    async fn enter(&self, context: &mut Context) -> Result<(), Refusal>;
}

/// How a stage ends a request: with a `Status`, or with an answer that is none.
enum Refusal {
    Status(Status),
    Answer(Box<Response<Body>>),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

/// What stands at the end of the pipeline.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Answers.
    async fn handle(
        &self,
        context: &Arc<Context>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status>;
}

/// The stages, and the handler behind them.
pub struct Pipeline {
    stages: Vec<Box<dyn Stage>>,
    metrics: Metrics,
    handler: Arc<dyn Handler>,
    request_timeout: Duration,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

impl Pipeline {
    /// The stages in their order.
    pub fn new(
        authenticator: Arc<dyn Authenticator>,
        authorizer: Arc<dyn Authorizer>,
        flow_control: Arc<FlowControl>,
        metrics: Metrics,
        handler: Arc<dyn Handler>,
        request_timeout: Duration,
    ) -> Self {
        let stages: Vec<Box<dyn Stage>> = vec![
            Box::new(authentication::Authentication(authenticator)),
            Box::new(impersonation::Impersonation::new(Arc::clone(&authorizer))),
            Box::new(flow_control::PriorityAndFairness(flow_control)),
            Box::new(authorization::Authorization(authorizer)),
        ];
        Self {
            stages,
            metrics,
            handler,
            request_timeout,
        }
    }

    /// Answers a request. Never fails and never panics: whatever goes wrong is an answer.
    pub async fn serve(&self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let mut context = Context::new(&parts, peer);
        context.info = RequestInfo::parse(&parts.method, &parts.uri);
        let asked_for = (context.headers.clone(), context.query.clone());
        let mut marks = finish::Marks::new(&context);
        let in_flight = self.metrics.begin(&context);

        let answer =
            AssertUnwindSafe(self.pass(&mut marks, context, Request::from_parts(parts, body)));
        let answer = match answer.catch_unwind().await {
            Ok(answer) => answer,
            Err(_) => {
                tracing::error!(audit_id = marks.audit_id(), "a request's handler panicked");
                Err(Status::internal(
                    "This request caused apiserver to panic. Look in the logs for details.",
                ))
            }
        };
        let response =
            answer.unwrap_or_else(|status| status_response(&status, &asked_for.0, &asked_for.1));
        in_flight.finish(response.status().as_u16());
        marks.apply(response)
    }

    async fn pass(
        &self,
        marks: &mut finish::Marks,
        mut context: Context,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        if context.info.is_long_running() {
            return self.pass_stages(marks, &mut context, request).await;
        }
        let timeout = requested_timeout(&context)
            .map_or(self.request_timeout, |t| t.min(self.request_timeout));
        let passing = self.pass_stages(marks, &mut context, request);
        match tokio::time::timeout(timeout, passing).await {
            Ok(answer) => answer,
            Err(_) => Err(Status::timeout(
                "request did not complete within the allotted timeout",
                0,
            )),
        }
    }

    async fn pass_stages(
        &self,
        marks: &mut finish::Marks,
        context: &mut Context,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        for stage in &self.stages {
            let passed = stage.enter(context).await;
            marks.flow.clone_from(&context.flow);
            match passed {
                Ok(()) => {}
                Err(Refusal::Status(status)) => {
                    marks.refused = status.code == 403;
                    return Err(status);
                }
                Err(Refusal::Answer(answer)) => return Ok(*answer),
            }
        }
        let leave = std::mem::take(&mut context.leave);
        let context = Arc::new(std::mem::take(context));
        marks.follow(&context);
        let answer = self.handler.handle(&context, request).await?;
        // A list takes its seats until it has been sent; a watch stands by now.
        Ok(match context.info.is_long_running() {
            true => answer,
            false => answer.map(|body| body.holding(leave)),
        })
    }
}

/// `timeout=` as Go writes durations of whole seconds and minutes.
fn requested_timeout(context: &Context) -> Option<Duration> {
    let value = context.query.get("timeout")?;
    let seconds = match value.strip_suffix('s') {
        Some(seconds) => seconds.parse().ok()?,
        None => value
            .strip_suffix('m')?
            .parse::<u64>()
            .ok()?
            .checked_mul(60)?,
    };
    (seconds > 0).then(|| Duration::from_secs(seconds))
}
