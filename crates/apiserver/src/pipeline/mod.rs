//! The way of every request, from the connection or from within the process.
//!
//! The stages stand in the order of [`Pipeline::stages`]; each may end the request with an answer. What comes out passes
//! [`finish`] on its way back: the headers that every answer carries.

mod arrival;
mod audit;
mod authentication;
mod authorization;
mod cut_short;
mod deadline;
mod finish;
mod flow_control;
mod impersonation;
mod retry_after;
mod sending;
mod spans;
mod turns;

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use apimachinery::status::Status;
use async_trait::async_trait;
use base::{TaskGroup, metrics::HistogramSeries};
use futures_util::FutureExt as _;
use http::{Request, Response};
use tokio_util::task::{TaskTracker, task_tracker::TaskTrackerToken};

pub(crate) use arrival::Arrived;
pub(crate) use turns::LARGE_BYTES;

use crate::{
    audit::{Audit, Record},
    authn::{AuthenticationMetrics, Authenticator, Peer, impersonation::ImpersonationMetrics},
    authz::{AuthorizationMetrics, Authorizer},
    body::Body,
    context::Context,
    flow_control::{FlowControl, Leave},
    lifecycle::Lifecycle,
    metrics::{InFlight, Metrics},
    negotiation::status_response,
    request_info::RequestInfo,
    traces::{Span, Tracer},
    upgraded::Upgraded,
};

/// A stage: learns something about the request or ends it.
#[async_trait]
trait Stage: Send + Sync {
    /// As upstream calls it in `apiserver_request_filter_duration_seconds`, if it has it.
    fn filter(&self) -> Option<&'static str>;

    async fn enter(
        &self,
        context: &mut Context,
        request: &mut Request<Body>,
    ) -> Result<(), Refusal>;
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

/// What a pipeline is made of.
pub struct Parts {
    /// Who asks.
    pub authenticator: Arc<dyn Authenticator>,
    /// Whether they may.
    pub authorizer: Arc<dyn Authorizer>,
    /// Whether they may now.
    pub flow_control: Arc<FlowControl>,
    /// What is counted.
    pub metrics: Metrics,
    /// What answers.
    pub handler: Arc<dyn Handler>,
    /// `--request-timeout`
    pub request_timeout: Duration,
    /// What is written of requests.
    pub audit: Option<Arc<Audit>>,
    /// Whether the server stops.
    pub lifecycle: Lifecycle,
    /// Where deadlines of answers run.
    pub tasks: TaskGroup,
    /// Who is told of requests, span by span.
    pub tracer: Option<Tracer>,
}

/// The stages, and the handler behind them.
pub struct Pipeline {
    stages: Vec<(Box<dyn Stage>, Option<HistogramSeries>)>,
    audit: Option<Arc<Audit>>,
    metrics: Metrics,
    handler: Arc<dyn Handler>,
    turns: turns::Turns,
    request_timeout: Duration,
    lifecycle: Lifecycle,
    tasks: TaskGroup,
    /// Requests under way, except those that may last as long as they like.
    under_way: TaskTracker,
}

impl std::fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipeline").finish_non_exhaustive()
    }
}

impl Pipeline {
    /// The stages in their order.
    pub fn new(parts: Parts) -> Self {
        let authorizer = parts.authorizer;
        let registry = parts.metrics.registry();
        let stages: [Option<Box<dyn Stage>>; 7] = [
            Some(Box::new(authentication::Authentication {
                authenticator: parts.authenticator,
                metrics: AuthenticationMetrics::new(registry),
            })),
            parts
                .tracer
                .map(|tracer| Box::new(spans::Spans(tracer)) as _),
            parts
                .audit
                .clone()
                .map(|audit| Box::new(audit::Audit(audit)) as _),
            Some(Box::new(impersonation::Impersonation::new(
                Arc::clone(&authorizer),
                ImpersonationMetrics::new(registry),
            ))),
            Some(Box::new(arrival::Arrivals::default())),
            Some(Box::new(flow_control::PriorityAndFairness(
                parts.flow_control,
            ))),
            Some(Box::new(authorization::Authorization {
                authorizer,
                metrics: AuthorizationMetrics::new(registry),
            })),
        ];
        let timed = stages.into_iter().flatten().map(|stage| {
            let seconds = stage.filter().map(|name| parts.metrics.of_filter(name));
            (stage, seconds)
        });
        Self {
            stages: timed.collect(),
            audit: parts.audit,
            metrics: parts.metrics,
            handler: parts.handler,
            turns: turns::Turns::new(),
            request_timeout: parts.request_timeout,
            lifecycle: parts.lifecycle,
            tasks: parts.tasks,
            under_way: TaskTracker::new(),
        }
    }

    /// Answers a request. Never fails and never panics: whatever goes wrong is an answer.
    pub async fn serve(&self, request: Request<Body>, peer: Peer) -> Response<Body> {
        let start = Instant::now();
        let (parts, body) = request.into_parts();
        let mut context = Context::new(&parts, peer);
        context.info = RequestInfo::parse(&parts.method, &parts.uri);
        if context.info.is_cut_short {
            return cut_short::refusal(&context, &parts.uri);
        }
        if self.lifecycle.sends_retry_after() && retry_after::applies(&context) {
            return retry_after::shutting_down();
        }
        let asked_for = (context.headers.clone(), context.query.clone());
        let mut marks = finish::Marks::new(&context);
        let mut held = Held {
            in_flight: Some(self.metrics.begin(&context)),
            under_way: (!context.info.is_long_running()).then(|| self.under_way.token()),
            leave: Leave::Free,
            audit: None,
            span: None,
            code: 0,
        };
        let time = deadline::of(&context, self.request_timeout);
        let request = Request::from_parts(parts, body);
        let answer = match &time {
            Err(status) => {
                self.audit_refusal(&context, status).await;
                Err(status.clone())
            }
            Ok(time) => {
                let passing = self.pass_in(*time, &mut marks, &mut held, context, request);
                match AssertUnwindSafe(passing).catch_unwind().await {
                    Ok(answer) => answer,
                    Err(_) => {
                        tracing::error!(
                            audit_id = marks.audit_id(),
                            "a request's handler panicked"
                        );
                        if let Some(record) = held.audit.take() {
                            record.panicked().await;
                        }
                        Err(panicked())
                    }
                }
            }
        };
        let status = answer.as_ref().err().cloned();
        let response =
            answer.unwrap_or_else(|status| status_response(&status, &asked_for.0, &asked_for.1));
        let mut response = held.answered(marks.apply(response), status.as_ref()).await;
        if let Some(upgraded) = response.extensions_mut().remove::<Upgraded>() {
            held.leave = Leave::Free;
            upgraded.keep(held);
            return response;
        }
        let time_left = time
            .unwrap_or(None)
            .map(|t| t.saturating_sub(start.elapsed()));
        if time_left.is_none() {
            // A watch stands by now: it gives its seats back.
            held.leave = Leave::Free;
        }
        response.map(|body| {
            let body = self.turns.make(body, &self.tasks);
            sending::hold(body, held, time_left, &self.tasks)
        })
    }

    /// Writes of a request that was refused before anybody knew whose it is.
    async fn audit_refusal(&self, context: &Context, status: &Status) {
        let record = self.audit.as_ref().and_then(|audit| audit.begin(context));
        if let Some(record) = record {
            record.note_unauthenticated(context, status);
            record.refused().await;
        }
    }

    /// Waits until no request is under way, of those that end by themselves.
    pub(crate) async fn drained(&self) {
        self.under_way.close();
        self.under_way.wait().await;
    }

    async fn pass_in(
        &self,
        time: Option<Duration>,
        marks: &mut finish::Marks,
        held: &mut Held,
        mut context: Context,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let passing = self.pass(marks, held, &mut context, request);
        let Some(time) = time else {
            return passing.await;
        };
        if let Ok(answer) = tokio::time::timeout(time, passing).await {
            return answer;
        }
        held.note_terminated();
        Err(Status::timeout(
            "request did not complete within the allotted timeout",
            0,
        ))
    }

    async fn pass(
        &self,
        marks: &mut finish::Marks,
        held: &mut Held,
        context: &mut Context,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        for (stage, seconds) in &self.stages {
            let start = Instant::now();
            let passed = stage.enter(context, &mut request).await;
            if let Some(seconds) = seconds {
                seconds.observe(start.elapsed().as_secs_f64());
            }
            marks.flow.clone_from(&context.flow);
            held.follow(context);
            match passed {
                Ok(()) => {}
                Err(Refusal::Status(status)) => {
                    // Who may not, and who asks wrongly to be somebody else.
                    marks.refused = matches!(status.code, 400 | 403);
                    marks.warnings = context.take_warnings();
                    if status.code == 401 && held.audit.is_none() {
                        self.audit_refusal(context, &status).await;
                    }
                    return Err(status);
                }
                Err(Refusal::Answer(answer)) => {
                    held.note_terminated();
                    return Ok(*answer);
                }
            }
        }
        context.arrived = None;
        held.leave = std::mem::take(&mut context.leave);
        let context = Arc::new(std::mem::take(context));
        marks.follow(&context);
        let request = match &context.audit {
            Some(record) => record.listen_request(request, &context.info),
            None => request,
        };
        let answering = self.handler.handle(&context, request);
        let answer = self.turns.run(&context, answering).await;
        self.metrics.note_request_body(&context);
        answer
    }
}

/// What a request holds until its answer has been sent.
struct Held {
    in_flight: Option<InFlight>,
    #[expect(dead_code, reason = "held for its drop")]
    under_way: Option<TaskTrackerToken>,
    leave: Leave,
    audit: Option<Arc<Record>>,
    span: Option<Span>,
    code: u16,
}

impl Held {
    /// The server ends the request, in its own defence.
    fn note_terminated(&mut self) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.note_terminated();
        }
    }

    /// Takes over what a stage has found out.
    fn follow(&mut self, context: &mut Context) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.note_wait(std::mem::take(&mut context.waited));
        }
        self.span = self.span.take().or_else(|| context.span.take());
        if let Some(record) = &context.audit {
            record.note(context);
            self.audit = Some(Arc::clone(record));
        }
    }

    /// The head of the answer is there; of an answer that is all there the audit log is told here, of others when they have been sent.
    async fn answered(
        &mut self,
        response: Response<Body>,
        status: Option<&Status>,
    ) -> Response<Body> {
        self.code = response.status().as_u16();
        if let (Some(in_flight), Some(bytes)) = (&self.in_flight, response.body().size()) {
            in_flight.note_size(bytes);
        }
        let Some(record) = self.audit.clone() else {
            return response;
        };
        match (status, response.body()) {
            // A deletion is answered by a status.
            (None, Body::Full(body)) if record.deletes() => {
                let status = serde_json::from_slice(body).ok();
                let status = status.filter(|status: &Status| status.kind == "Status");
                record.note_outcome(self.code, status.as_ref());
            }
            _ => record.note_outcome(self.code, status),
        }
        record.started().await;
        let response = record.listen_response(response);
        let goes_on = response.extensions().get::<Upgraded>().is_some();
        if !goes_on && !response.body().is_streamed() {
            self.audit = None;
            record.completed().await;
        }
        response
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(record) = self.audit.take() {
            record.sent();
        }
        if let Some(in_flight) = self.in_flight.take() {
            in_flight.finish(self.code);
        }
        if let Some(mut span) = self.span.take() {
            span.answered(self.code);
        }
    }
}

fn panicked() -> Status {
    Status::internal("This request caused apiserver to panic. Look in the logs for details.")
}
