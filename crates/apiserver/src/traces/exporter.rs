//! Sends spans to a collector in batches, by OTLP over gRPC. Its connection is not encrypted, as upstream's is not.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint as Transport};

use super::configuration::{ConfigurationError, Endpoint, TracingConfiguration};
use crate::{discovery::Version, unix_connector::UnixConnector};

#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub(super) mod otlp {
    tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
}

use otlp::trace_service_client::TraceServiceClient;

/// Spans that wait to be sent; more are lost. As OpenTelemetry's libraries have it.
const QUEUE: usize = 2048;
/// Spans in one message.
const BATCH: usize = 512;
/// How long a span waits for others.
const PERIOD: Duration = Duration::from_secs(5);
/// Time for a message.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Time for what is left when the server stops.
const LAST: Duration = Duration::from_secs(2);

/// Where ended spans are put.
#[derive(Clone)]
pub(super) struct Queue(mpsc::Sender<otlp::Span>);

impl Queue {
    pub(super) fn push(&self, span: otlp::Span) {
        // Full: the collector does not keep up. Nobody waits for it.
        let _ = self.0.try_send(span);
    }
}

/// See the module.
pub(super) struct Exporter {
    client: TraceServiceClient<Channel>,
    queue: mpsc::Receiver<otlp::Span>,
    resource: otlp::Resource,
    /// Whether the last message failed: said once.
    failing: bool,
}

impl Exporter {
    /// Dials nothing yet.
    pub(super) fn new(
        configuration: &TracingConfiguration,
    ) -> Result<(Self, Queue), ConfigurationError> {
        let channel = match configuration.endpoint() {
            Endpoint::Socket(path) => Transport::from_static("http://collector")
                .connect_timeout(TIMEOUT)
                .connect_with_connector_lazy(UnixConnector(path)),
            Endpoint::Address(address) => Transport::from_shared(format!("http://{address}"))
                .map_err(|error| ConfigurationError::Invalid(format!("{address}: {error}")))?
                .connect_timeout(TIMEOUT)
                .connect_lazy(),
        };
        let (sender, queue) = mpsc::channel(QUEUE);
        let exporter = Self {
            client: TraceServiceClient::new(channel),
            queue,
            resource: otlp::Resource {
                attributes: vec![
                    super::text("service.name", "apiserver"),
                    super::text("service.instance.id", &uuid::Uuid::new_v4().to_string()),
                ],
            },
            failing: false,
        };
        Ok((exporter, Queue(sender)))
    }

    /// Sends until cancelled, and then what is left.
    pub(super) async fn run(mut self, cancel: CancellationToken) {
        loop {
            let mut batch = Vec::new();
            let gathered = self.gather(&mut batch);
            let stopped = cancel.run_until_cancelled(gathered).await.is_none();
            if stopped {
                while let Ok(span) = self.queue.try_recv() {
                    batch.push(span);
                }
            }
            let time = if stopped { LAST } else { TIMEOUT };
            if !batch.is_empty() {
                self.export(batch, time).await;
            }
            if stopped {
                return;
            }
        }
    }

    /// Waits for a span, then for others, up to a batch.
    async fn gather(&mut self, batch: &mut Vec<otlp::Span>) {
        if self.queue.recv_many(batch, BATCH).await == 0 {
            // All who could put spans here are gone.
            return std::future::pending().await;
        }
        let deadline = tokio::time::Instant::now() + PERIOD;
        while batch.len() < BATCH {
            let room = BATCH - batch.len();
            let more = self.queue.recv_many(batch, room);
            if !matches!(tokio::time::timeout_at(deadline, more).await, Ok(1..)) {
                return;
            }
        }
    }

    async fn export(&mut self, spans: Vec<otlp::Span>, time: Duration) {
        let number = spans.len();
        let scope = otlp::InstrumentationScope {
            name: "apiserver".to_owned(),
            version: Version::CURRENT.git_version(),
        };
        let request = otlp::ExportTraceServiceRequest {
            resource_spans: vec![otlp::ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![otlp::ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        };
        let problem = match tokio::time::timeout(time, self.client.export(request)).await {
            Ok(Ok(answer)) => {
                let partial = answer.into_inner().partial_success.unwrap_or_default();
                (partial.rejected_spans > 0).then_some(partial.error_message)
            }
            Ok(Err(status)) => Some(status.to_string()),
            Err(_) => Some("no answer in time".to_owned()),
        };
        match (problem, self.failing) {
            (Some(problem), false) => {
                tracing::warn!(spans = number, problem, "traces are lost");
                self.failing = true;
            }
            (Some(_), true) => {}
            (None, _) => self.failing = false,
        }
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}
