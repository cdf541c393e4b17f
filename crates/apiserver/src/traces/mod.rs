//! Traces of requests, told to an OpenTelemetry collector (`--tracing-config-file`, KEP-647).
//!
//! Each request that is sampled is one span. Whom we trust (superusers and monitoring) may have requests traced by a `traceparent` header that says so; anybody else's
//! header is but a link, and the configured rate decides. Requests that nobody has authenticated make no spans.
//!
//! Bounds: spans wait in a queue of fixed length for a task that sends them in batches; when the collector is too slow, spans are lost, and requests never wait.

pub mod configuration;
mod exporter;
mod trace_context;

use std::sync::Arc;

use base::{Clock, TaskGroup};
use http::{HeaderMap, Method};
use jiff::Timestamp;

use configuration::ConfigurationError;
pub use configuration::TracingConfiguration;
use exporter::{Exporter, Queue, otlp};
use trace_context::TraceContext;

use crate::{context::Context, request_info::RequestInfo, user::MASTERS, user::UserInfo};

/// Those who watch the cluster.
const MONITORING: &str = "system:monitoring";

/// Begins spans.
#[derive(Clone)]
pub struct Tracer(Arc<Shared>);

struct Shared {
    queue: Queue,
    /// Of a million requests that come without a decision, so many are traced.
    per_million: u64,
    clock: Clock,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").finish_non_exhaustive()
    }
}

impl Tracer {
    /// Sends to the configured collector, from a task of `tasks`.
    pub fn start(
        configuration: &TracingConfiguration,
        clock: Clock,
        tasks: &TaskGroup,
    ) -> Result<Self, ConfigurationError> {
        let (exporter, queue) = Exporter::new(configuration)?;
        tasks.spawn("trace-exporter", exporter.run(tasks.token().clone()));
        Ok(Self(Arc::new(Shared {
            queue,
            per_million: configuration.per_million(),
            clock,
        })))
    }

    /// A span of a request whose user is known, if it is sampled.
    pub(crate) fn begin(&self, context: &Context, method: &Method) -> Option<Span> {
        let remote = TraceContext::of(&context.headers);
        let (own, link) = match remote {
            Some(parent) if is_trusted(&context.user) => {
                if !parent.sampled {
                    return None;
                }
                (parent.child(), None)
            }
            link => (TraceContext::root(self.0.per_million)?, link),
        };
        let now = self.0.clock.now();
        let age = context.came.map(|came| came.elapsed());
        let started = now.checked_sub(age.unwrap_or_default()).unwrap_or(now);
        let span = otlp::Span {
            trace_id: own.trace_id.to_vec(),
            span_id: own.span_id.to_vec(),
            parent_span_id: own.parent_id.map_or_else(Vec::new, |id| id.to_vec()),
            trace_state: own.state,
            name: name_of(&context.info, method),
            kind: otlp::SpanKind::Server.into(),
            start_time_unix_nano: nanoseconds(started),
            attributes: attributes_of(context, method),
            links: link.into_iter().map(TraceContext::into_link).collect(),
            flags: 1,
            ..otlp::Span::default()
        };
        Some(Span {
            span: Some(Box::new(span)),
            tracer: self.clone(),
            code: 0,
        })
    }
}

/// A request that is traced. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Span {
    /// There until the end.
    span: Option<Box<otlp::Span>>,
    tracer: Tracer,
    code: u16,
}

impl Span {
    /// The answer's code.
    pub(crate) fn answered(&mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else {
            return;
        };
        let shared = &self.tracer.0;
        span.end_time_unix_nano = nanoseconds(shared.clock.now());
        let code = i64::from(self.code);
        span.attributes
            .push(number("http.response.status_code", code));
        if self.code >= 500 {
            span.status = Some(otlp::SpanStatus {
                message: String::new(),
                code: otlp::StatusCode::Error.into(),
            });
        }
        shared.queue.push(*span);
    }
}

fn is_trusted(user: &UserInfo) -> bool {
    let mut groups = user.groups.iter();
    groups.any(|group| group == MASTERS || group == MONITORING)
}

/// `GET /api/v1/namespaces/{:namespace}/pods/{:name}`; of other paths the method alone.
fn name_of(info: &RequestInfo, method: &Method) -> String {
    let mut name = method.to_string();
    if !info.is_resource {
        return name;
    }
    name.push_str(" /");
    name.push_str(&info.prefix);
    let gv = &info.group_version;
    let namespace = match info.namespace.as_str() {
        "" => "",
        _ => "namespaces/{:namespace}",
    };
    let object = match info.name.as_str() {
        "" => "",
        _ => "{:name}",
    };
    let resource = info.resource.as_str();
    for part in [&*gv.group, &*gv.version, namespace, resource, object] {
        if !part.is_empty() {
            name.push('/');
            name.push_str(part);
        }
    }
    if !info.subresource.is_empty() {
        name.push('/');
        name.push_str(&info.subresource);
    }
    name
}

/// By OpenTelemetry's conventions for HTTP servers, and the audit id, which leads to the audit log.
fn attributes_of(context: &Context, method: &Method) -> Vec<otlp::KeyValue> {
    let target = context
        .uri
        .path_and_query()
        .map_or_else(String::new, ToString::to_string);
    let mut attributes = vec![
        text("http.request.method", method.as_str()),
        text("url.scheme", "https"),
        text("url.path", context.uri.path()),
        text("http.target", &target),
        text("audit-id", &context.audit_id),
    ];
    let agent = header(&context.headers, http::header::USER_AGENT.as_str());
    attributes.extend(agent.map(|agent| text("user_agent.original", agent)));
    let peer = context.remote();
    attributes.extend(peer.map(|peer| text("network.peer.address", &peer.ip().to_string())));
    attributes
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn text(key: &str, value: &str) -> otlp::KeyValue {
    attribute(key, otlp::any_value::Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: i64) -> otlp::KeyValue {
    attribute(key, otlp::any_value::Value::IntValue(value))
}

fn attribute(key: &str, value: otlp::any_value::Value) -> otlp::KeyValue {
    otlp::KeyValue {
        key: key.to_owned(),
        value: Some(otlp::AnyValue { value: Some(value) }),
    }
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
