use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use http::Request;
use otlp::trace_service_server::{TraceService, TraceServiceServer};
use tokio::{net::TcpListener, sync::mpsc};

use super::*;
use crate::authn::Peer;

/// A collector that hands on what it is told.
struct Collector(mpsc::Sender<otlp::ResourceSpans>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<otlp::ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<otlp::ExportTraceServiceResponse>, tonic::Status> {
        for spans in request.into_inner().resource_spans {
            self.0.send(spans).await.unwrap();
        }
        Ok(tonic::Response::new(
            otlp::ExportTraceServiceResponse::default(),
        ))
    }
}

async fn collector(tasks: &TaskGroup) -> (SocketAddr, mpsc::Receiver<otlp::ResourceSpans>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, receiver) = mpsc::channel(16);
    let incoming = futures_util::stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(stream, _)| stream), listener))
    });
    let server =
        tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tasks.spawn_cancellable("collector", async move {
        let _ = server.serve_with_incoming(incoming).await;
    });
    (address, receiver)
}

fn context(parent: Option<&str>, group: &str) -> (Context, Method) {
    let mut request = Request::builder().uri("/api/v1/namespaces/n/pods/p/log?follow=true");
    if let Some(parent) = parent {
        request = request.header("traceparent", parent);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let mut context = Context::new(&parts, Peer::default());
    context.info = RequestInfo::parse(&parts.method, &parts.uri);
    context.user.groups.push(group.to_owned());
    (context, parts.method)
}

const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn configuration(address: SocketAddr, rate: u32) -> TracingConfiguration {
    TracingConfiguration::parse(&format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: {address}\nsamplingRatePerMillion: {rate}\n"
    ))
    .unwrap()
}

#[tokio::test]
async fn a_collector_is_told_of_requests() {
    let (collecting, tasks) = (TaskGroup::default(), TaskGroup::default());
    let (address, mut received) = collector(&collecting).await;
    let tracer = Tracer::start(&configuration(address, 0), Clock::system(), &tasks).unwrap();
    let (mut context, method) = context(Some(SAMPLED), MASTERS);
    context.came = Instant::now().checked_sub(Duration::from_secs(1));
    let mut span = tracer.begin(&context, &method).unwrap();
    span.answered(503);
    drop(span);
    // What waits is sent when the server stops.
    tasks.shutdown().await;
    let told = received.recv().await.unwrap();
    let [scope] = told.scope_spans.as_slice() else {
        panic!("{told:?}");
    };
    let [span] = scope.spans.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(
        span.name,
        "GET /api/v1/namespaces/{:namespace}/pods/{:name}/log"
    );
    assert_eq!(span.trace_id[..2], [0x0a, 0xf7]);
    assert_eq!(span.parent_span_id[..2], [0xb7, 0xad]);
    assert!(span.end_time_unix_nano >= span.start_time_unix_nano + 1_000_000_000);
    assert_eq!(
        span.status.as_ref().map(|status| status.code()),
        Some(otlp::StatusCode::Error)
    );
    let attribute = |name: &str| {
        let found = span.attributes.iter().find(|one| one.key == name);
        found.and_then(|one| one.value.clone()?.value)
    };
    assert_eq!(
        attribute("http.response.status_code"),
        Some(otlp::any_value::Value::IntValue(503))
    );
    assert_eq!(
        attribute("audit-id"),
        Some(otlp::any_value::Value::StringValue(
            context.audit_id.clone()
        ))
    );
    collecting.shutdown().await;
}

#[tokio::test]
async fn strangers_do_not_decide_what_is_traced() {
    let tasks = TaskGroup::default();
    let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let begin = |rate, parent, group| {
        let configuration = configuration(nowhere, rate);
        let tracer = Tracer::start(&configuration, Clock::system(), &tasks).unwrap();
        let (context, method) = context(parent, group);
        let span = tracer.begin(&context, &method);
        span.map(|mut span| *span.span.take().unwrap())
    };
    assert!(begin(0, None, MASTERS).is_none());
    assert!(begin(0, Some(SAMPLED), "others").is_none());
    assert!(begin(1_000_000, Some(NOT_SAMPLED), MONITORING).is_none());
    let span = begin(1_000_000, Some(NOT_SAMPLED), "others").unwrap();
    assert!(span.parent_span_id.is_empty());
    assert_ne!(span.trace_id[..2], [0x0a, 0xf7]);
    assert_eq!(span.links[0].trace_id[..2], [0x0a, 0xf7]);
    tasks.shutdown().await;
}
