//! What stands at the end of the pipeline: resources, and the paths that are none.

use std::sync::Arc;

use apimachinery::{gvk::GroupVersionKind, status::Status};
use async_trait::async_trait;
use base::Clock;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};

use crate::{
    aggregation::Aggregator,
    body::Body,
    context::Context,
    debug_flags,
    discovery::{Discovery, Version, root_paths},
    flow_control::FlowControl,
    health::Health,
    metrics::Metrics,
    negotiation::{Accept, maybe_gzip, respond_object, route_produces},
    openapi::OpenApi,
    pipeline::Handler,
    registry::{Registry, page_not_found},
    tokens::OpenIdDiscovery,
    zpages::{self, Pages},
};

/// Everything a server answers.
pub(crate) struct Router {
    pub(crate) registry: Arc<Registry>,
    pub(crate) aggregator: Arc<Aggregator>,
    pub(crate) discovery: Discovery,
    pub(crate) openapi: OpenApi,
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) flow_control: Arc<FlowControl>,
    pub(crate) pages: Pages,
    pub(crate) clock: Clock,
    pub(crate) openid: Option<OpenIdDiscovery>,
}

#[async_trait]
impl Handler for Router {
    async fn handle(
        &self,
        context: &Arc<Context>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        // Nobody's, whatever authorizers read in it.
        let path = context.info.path.as_str();
        if path.starts_with("//") || path.starts_with("/apis//") {
            return Ok(page_not_found());
        }
        if let Some(remote) = self.aggregator.remote(context.info.path.as_str()) {
            return Ok(self.aggregator.proxy(&remote, context, request).await);
        }
        if context.info.is_resource {
            return self.registry.handle(context, request).await;
        }
        if let Some(response) = self.health.respond(path, &context.query).await {
            return Ok(response.map(Body::from));
        }
        if let Some(remote) = self.aggregator.describes(path) {
            return Ok(self.aggregator.describe(&remote, context, request).await);
        }
        let (headers, query) = (&context.headers, &context.query);
        if let Some(answer) = self
            .discovery
            .respond(request.method(), path, headers, query)
        {
            return answer;
        }
        if path.starts_with("/openapi/") {
            // A document is made when somebody asks for it first, of all that is served.
            context.begin_long_work().await;
        }
        if let Some(answer) = self.openapi.respond(path, headers, query) {
            return answer;
        }
        let openid = self.openid.as_ref();
        if let Some(answer) =
            openid.and_then(|openid| openid.respond(request.method(), path, headers))
        {
            return answer.map(|response| response.map(Body::from));
        }
        if let Some(dump) = path.strip_prefix("/debug/api_priority_and_fairness/") {
            let with_details = context.query.get("includeRequestDetails");
            let with_details = with_details.is_some_and(|value| !value.is_empty());
            return Ok(match self.flow_control.dump(dump, with_details) {
                Some(text) => zpages::text(text),
                None => page_not_found(),
            });
        }
        if path == "/debug/flags" || path.starts_with("/debug/flags/") {
            let path = path.to_owned();
            return Ok(debug_flags::respond(&path, request).await);
        }
        match path {
            "/" | "/index.html" => self.document(context, &self.root()),
            "/metrics" if request.method() == Method::DELETE => {
                Ok(self.metrics.reset().map(Body::from))
            }
            "/metrics" => compressed(headers, self.metrics.respond().await),
            "/metrics/slis" => Ok(self.health.slis().map(Body::from)),
            "/statusz" => {
                zpages::acceptable(headers)?;
                let listed = self.listed();
                let listed: Vec<&str> = listed.iter().map(String::as_str).collect();
                Ok(self.pages.statusz(self.clock.now(), &listed))
            }
            "/flagz" => {
                zpages::acceptable(headers)?;
                Ok(self.pages.flagz())
            }
            _ => self.service(context, request.method()),
        }
    }
}

/// The response, compressed if it is large and the client takes that.
fn compressed(request: &HeaderMap, response: Response<Bytes>) -> Result<Response<Body>, Status> {
    let (head, body) = response.into_parts();
    let size = body.len();
    let mut response = Response::builder().status(head.status);
    if let Some(headers) = response.headers_mut() {
        *headers = head.headers;
    }
    let body = Body::at_hand(std::iter::once(body));
    maybe_gzip(request, response, size, body).map_err(Status::internal)
}

impl Router {
    /// What upstream serves by its router of services, which minds no slashes at the end and answers for everything below them.
    fn service(&self, context: &Context, method: &Method) -> Result<Response<Body>, Status> {
        let path = context.info.path.trim_end_matches('/');
        if path == "/version" {
            if method != Method::GET {
                return Err(Status::method_not_allowed());
            }
            route_produces(&context.headers, &["application/json"])?;
            return self.document(context, &Version::CURRENT.document());
        }
        let openid = self.openid.iter().flat_map(|_| OpenIdDiscovery::PATHS);
        let is_below = |service: &str| {
            let below = path.strip_prefix(service);
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        match ["/api", "/version"].into_iter().chain(openid).any(is_below) {
            true => Err(Status::unknown_path()),
            false => Ok(page_not_found()),
        }
    }

    fn root(&self) -> apimachinery::Object {
        let fixed = [
            "/apis/",
            "/flagz",
            "/metrics",
            "/metrics/slis",
            "/statusz",
            "/version",
        ];
        let health: Vec<String> = self.health.paths().collect();
        let discovery = self.discovery.paths();
        let made = discovery.iter().chain(&health).map(String::as_str);
        let openid = self.openid.iter().flat_map(|_| OpenIdDiscovery::PATHS);
        let fixed = fixed.into_iter().chain(openid);
        root_paths(made.chain(fixed).chain(self.openapi.paths()))
    }

    /// The paths that `/statusz` names: those that are no discovery and no single check.
    fn listed(&self) -> Vec<String> {
        let health = self
            .health
            .paths()
            .filter(|path| path.matches('/').count() == 1);
        let fixed = ["/flagz", "/metrics", "/statusz", "/version"];
        let mut listed: Vec<String> = health.chain(fixed.map(str::to_owned)).collect();
        listed.sort();
        listed
    }

    /// A document of no kind, always JSON.
    fn document(
        &self,
        context: &Context,
        object: &apimachinery::Object,
    ) -> Result<Response<Body>, Status> {
        let accept = Accept {
            pretty: true,
            ..Accept::default()
        };
        respond_object(
            &context.headers,
            StatusCode::OK,
            accept,
            object,
            &GroupVersionKind::default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn long_metrics_are_compressed_for_those_who_take_that() {
        let answer = |bytes: usize, accepted: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                header::ACCEPT_ENCODING,
                http::HeaderValue::from_static(accepted),
            );
            let response = Response::new(Bytes::from(vec![b'a'; bytes]));
            let response = compressed(&headers, response).unwrap();
            response.headers().contains_key(header::CONTENT_ENCODING)
        };
        assert!(answer(1 << 20, "gzip"));
        assert!(!answer(1 << 20, "identity"));
        assert!(!answer(1 << 10, "gzip"));
    }
}
