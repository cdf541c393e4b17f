//! The pages of a component: `/healthz`, `/livez`, `/readyz` and their checks, `/metrics`, `/metrics/slis`, `/configz`, `/flagz`, `/statusz`,
//! `/version`, and what it adds of its own.

use base::{Clock, TaskGroup, metrics::Registry};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;

use crate::{
    answer::{Body, full, json, not_found, ok},
    guard::Guard,
    health::{Checks, Slis},
    listener::{Handler, Listener, Peer},
    zpages::Identity,
};

/// Makes a page.
pub type Page = Box<dyn Fn() -> Response<Body> + Send + Sync>;

/// What a component serves of itself.
pub struct Server {
    identity: Identity,
    clock: Clock,
    guard: Option<Guard>,
    metrics: Registry,
    slis: Slis,
    /// By endpoint.
    health: Vec<(&'static str, Checks)>,
    /// By the name under which a configuration is shown.
    configz: serde_json::Map<String, Value>,
    pages: Vec<(&'static str, Page)>,
    /// What `/statusz` lists.
    paths: Vec<String>,
    /// Whether nothing is answered but [`Server::with_page`]'s.
    only_pages: bool,
}

impl Server {
    /// One whose metrics are in `metrics`.
    pub fn new(identity: Identity, metrics: Registry, clock: Clock) -> Self {
        let fixed = [
            "/configz",
            "/flagz",
            "/metrics",
            "/metrics/slis",
            "/statusz",
            "/version",
        ];
        Self {
            identity,
            clock,
            guard: None,
            metrics,
            slis: Slis::new(),
            health: Vec::new(),
            configz: serde_json::Map::new(),
            pages: Vec::new(),
            paths: fixed.map(str::to_owned).to_vec(),
            only_pages: false,
        }
    }

    /// Answers nothing but the pages that are added.
    pub fn with_only_pages(mut self) -> Self {
        self.only_pages = true;
        self.paths.clear();
        self
    }

    /// Lets in only whom `guard` does; without it everybody may look.
    pub fn guarded_by(mut self, guard: Guard) -> Self {
        self.guard = Some(guard);
        self
    }

    /// Answers `/{endpoint}` and, for each check, `/{endpoint}/{name}`.
    pub fn with_checks(mut self, endpoint: &'static str, checks: Checks) -> Self {
        self.add_path(format!("/{endpoint}"));
        for name in checks.names() {
            self.add_path(format!("/{endpoint}/{name}"));
        }
        self.health.push((endpoint, checks));
        self
    }

    /// Shows a configuration under that name.
    pub fn with_configuration(mut self, name: &str, configuration: Value) -> Self {
        self.configz.insert(name.to_owned(), configuration);
        self
    }

    /// Adds a page.
    pub fn with_page(mut self, path: &'static str, page: Page) -> Self {
        self.add_path(path.to_owned());
        self.pages.push((path, page));
        self
    }

    fn add_path(&mut self, path: String) {
        self.paths.push(path);
        self.paths.sort();
    }

    /// Serves until the group is cancelled.
    pub async fn serve(self, listener: Listener, tasks: &TaskGroup) {
        listener.serve(std::sync::Arc::new(self), tasks).await;
    }

    fn respond<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path();
        if let Some((_, page)) = self.pages.iter().find(|(own, _)| *own == path) {
            return page();
        }
        if self.only_pages {
            return not_found();
        }
        match path {
            "/metrics" => ok(base::metrics::TEXT_FORMAT, full(self.metrics.encode())),
            "/metrics/slis" => ok(base::metrics::TEXT_FORMAT, full(self.slis.encode())),
            "/configz" => json(StatusCode::OK, &self.configz),
            "/version" => json(StatusCode::OK, &self.identity.version),
            "/flagz" => self.identity.flagz(request.headers()),
            "/statusz" => {
                let paths: Vec<&str> = self.paths.iter().map(String::as_str).collect();
                let now = self.clock.now();
                self.identity.statusz(request.headers(), now, &paths)
            }
            path => {
                let query = request.uri().query().unwrap_or_default();
                self.health(path, query).unwrap_or_else(not_found)
            }
        }
    }

    fn health(&self, path: &str, query: &str) -> Option<Response<Body>> {
        let path = path.strip_prefix('/')?;
        let (endpoint, check) = match path.split_once('/') {
            Some((endpoint, check)) => (endpoint, Some(check)),
            None => (path, None),
        };
        let (endpoint, checks) = self.health.iter().find(|(own, _)| *own == endpoint)?;
        match check {
            None => Some(checks.all(endpoint, query, &self.slis)),
            Some(check) => checks.one(check),
        }
    }
}

impl Handler for Server {
    async fn handle(&self, request: Request<Incoming>, peer: &Peer) -> Response<Body> {
        let (head, _body) = request.into_parts();
        let mut response = match &self.guard {
            Some(guard) => match guard.check(&head, peer).await {
                Ok(()) => self.respond(&Request::from_parts(head, ())),
                Err(refusal) => *refusal,
            },
            None => return self.respond(&Request::from_parts(head, ())),
        };
        // What was allowed to one is not to be kept for others.
        let private = HeaderValue::from_static("no-cache, private");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, private);
        response
    }
}

#[cfg(test)]
mod tests;
