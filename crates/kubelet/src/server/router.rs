//! Which handler a path has. The match in [`Router::route`] is the table of all of them.

use std::{sync::Arc, time::Duration};

use base::{TaskGroup, metrics};
use component_base::Identity;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{
    body::{self, Body, Refusal},
    configz, files,
    host::Host,
    logs, pods,
    query::{Query, path_segment},
    stats::{self, Stats},
    streams,
};

/// All handlers, and what they share.
pub(super) struct Router {
    pub(super) host: Arc<dyn Host>,
    /// Streams, which outlive their request.
    pub(super) tasks: TaskGroup,
    pub(super) idle_timeout: Duration,
    pub(super) stats: Stats,
    identity: Option<Identity>,
    metrics: metrics::Registry,
    requests: metrics::Counter,
}

/// What a handler gets of its request besides its path.
pub(super) struct Call {
    pub(super) query: Query,
    pub(super) request: Request<Incoming>,
}

impl Router {
    pub(super) fn new(
        host: Arc<dyn Host>,
        tasks: TaskGroup,
        idle_timeout: Duration,
        identity: Option<Identity>,
    ) -> Self {
        let metrics = host.metrics();
        metrics::process(&metrics);
        let requests = metrics.counter(
            "kubelet_http_requests_total",
            "Number of the http requests received since the server started",
            &["method", "path"],
        );
        stats::kubelet_metrics(&metrics, &host);
        Self {
            stats: Stats::new(),
            host,
            tasks,
            idle_timeout,
            identity,
            metrics,
            requests,
        }
    }

    /// Answers. Whatever goes wrong is an answer.
    pub(super) async fn serve(&self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let segments: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(path_segment)
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let query = Query::parse(request.uri().query().unwrap_or_default());
        self.requests
            .increment(&[request.method().as_str(), known_path(segments[0])]);
        let call = Call { query, request };
        self.route(&path, &segments, call)
            .await
            .unwrap_or_else(Refusal::into_response)
    }

    async fn route(
        &self,
        path: &str,
        segments: &[&str],
        call: Call,
    ) -> Result<Response<Body>, Refusal> {
        let method = call.request.method().clone();
        let is_get = matches!(method, Method::GET | Method::HEAD);
        let is_stream = matches!(method, Method::GET | Method::POST);
        match segments {
            ["healthz"] if is_get => self.healthz().await,
            ["healthz", "ping" | "syncloop"] if is_get => self.healthz().await,
            ["pods"] if is_get => pods::list(self),
            ["runningpods"] if is_get => pods::running(self).await,
            ["configz"] if is_get => configz::show(self),
            ["statusz"] if is_get => {
                self.page(|who| who.statusz(call.request.headers(), Timestamp::now(), LISTED))
            }
            ["flagz"] if is_get => self.page(|who| who.flagz(call.request.headers())),
            ["containerLogs", namespace, pod, container] if is_get => {
                logs::serve(self, namespace, pod, container, &call.query).await
            }
            ["logs", ..] if is_get => files::serve(&self.host.system_logs(), path).await,
            ["exec", namespace, pod, container] if is_stream => {
                streams::exec(self, self.pod(namespace, pod, None)?, container, call).await
            }
            ["exec", namespace, pod, uid, container] if is_stream => {
                streams::exec(self, self.pod(namespace, pod, Some(uid))?, container, call).await
            }
            ["attach", namespace, pod, container] if is_stream => {
                streams::attach(self, self.pod(namespace, pod, None)?, container, call).await
            }
            ["attach", namespace, pod, uid, container] if is_stream => {
                streams::attach(self, self.pod(namespace, pod, Some(uid))?, container, call).await
            }
            ["portForward", namespace, pod] if is_stream => {
                streams::port_forward(self, self.pod(namespace, pod, None)?, call).await
            }
            ["portForward", namespace, pod, uid] if is_stream => {
                streams::port_forward(self, self.pod(namespace, pod, Some(uid))?, call).await
            }
            ["run", namespace, pod, container] if method == Method::POST => {
                streams::run(
                    self,
                    self.pod(namespace, pod, None)?,
                    container,
                    &call.query,
                )
                .await
            }
            ["run", namespace, pod, uid, container] if method == Method::POST => {
                let pod = self.pod(namespace, pod, Some(uid))?;
                streams::run(self, pod, container, &call.query).await
            }
            ["stats", "summary"] if is_get => stats::summary(self, &call.query).await,
            ["metrics"] if is_get => Ok(exposition(self.metrics.encode())),
            ["metrics", "cadvisor"] if is_get => Ok(exposition(stats::cadvisor(self).await?)),
            ["metrics", "probes"] if is_get => Ok(exposition(self.host.probe_metrics().encode())),
            ["metrics", "resource"] if is_get => Ok(exposition(stats::resource(self).await)),
            [first, ..] if known_path(first) != "other" && !is_stream => Err(Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "405: Method Not Allowed",
            )),
            _ => Err(Refusal::not_found("404 page not found\n")),
        }
    }

    /// A pod of this node, of this uid if one is given.
    pub(super) fn pod(
        &self,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
    ) -> Result<Pod, Refusal> {
        self.host
            .pod(namespace, name)
            .filter(|pod| uid.is_none_or(|uid| crate::pod::uid(pod) == uid))
            .ok_or_else(|| Refusal::not_found("pod does not exist"))
    }

    /// A page about this component.
    fn page(
        &self,
        show: impl FnOnce(&Identity) -> Response<Body>,
    ) -> Result<Response<Body>, Refusal> {
        let not_found = || Refusal::not_found("404 page not found\n");
        self.identity.as_ref().map(show).ok_or_else(not_found)
    }

    async fn healthz(&self) -> Result<Response<Body>, Refusal> {
        match self.host.healthz().await {
            Ok(()) => Ok(body::ok("text/plain; charset=utf-8", body::full("ok"))),
            Err(error) => Err(Refusal::internal(format!("[-]runtime failed: {error}\n"))),
        }
    }
}

/// What `/statusz` says is served.
const LISTED: &[&str] = &[
    "/configz",
    "/flagz",
    "/healthz",
    "/metrics",
    "/metrics/cadvisor",
    "/metrics/probes",
    "/metrics/resource",
];

/// The first segment of a path, for a metric: bounded whatever clients send.
fn known_path(segment: &str) -> &'static str {
    const KNOWN: &[&str] = &[
        "attach",
        "configz",
        "containerLogs",
        "exec",
        "flagz",
        "healthz",
        "logs",
        "metrics",
        "pods",
        "portForward",
        "run",
        "runningpods",
        "stats",
        "statusz",
    ];
    KNOWN
        .iter()
        .find(|known| **known == segment)
        .copied()
        .unwrap_or("other")
}

fn exposition(text: String) -> Response<Body> {
    body::ok("text/plain; version=0.0.4; charset=utf-8", body::full(text))
}
