//! `/healthz`, `/livez`, `/readyz`, each also check by check, in the words that probes and `kubectl get --raw` know.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base::metrics::{Counter, Gauge, Registry};
use bytes::Bytes;
use etcd::Kv;
use http::{HeaderValue, Response, StatusCode, header};

use crate::query::Query;

/// A check that takes longer has failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Something that can be well or not.
#[async_trait]
pub trait Check: Send + Sync {
    /// `Err` says why not; it goes to the log, and the client hears "reason withheld".
    async fn check(&self) -> Result<(), String>;
}

/// Always well: that it answers is the proof.
#[derive(Debug)]
pub struct Ping;

#[async_trait]
impl Check for Ping {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A stage of the start: well once it is done.
#[derive(Clone, Debug, Default)]
pub struct Done(Arc<tokio::sync::watch::Sender<bool>>);

impl Done {
    /// It is.
    pub fn set(&self) {
        self.0.send_replace(true);
    }

    /// Waits until it is.
    pub async fn wait(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.subscribe().wait_for(|done| *done).await;
    }
}

#[async_trait]
impl Check for Done {
    async fn check(&self) -> Result<(), String> {
        if *self.0.borrow() {
            Ok(())
        } else {
            Err("not finished".to_owned())
        }
    }
}

/// Well until the server begins to stop, so that load balancers turn away in time.
#[derive(Clone, Debug)]
pub struct Shutdown(pub tokio_util::sync::CancellationToken);

#[async_trait]
impl Check for Shutdown {
    async fn check(&self) -> Result<(), String> {
        if self.0.is_cancelled() {
            Err("process is shutting down".to_owned())
        } else {
            Ok(())
        }
    }
}

/// The store answers a linearizable read.
pub struct Store(pub Arc<dyn Kv>);

#[async_trait]
impl Check for Store {
    async fn check(&self) -> Result<(), String> {
        self.0
            .revision()
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    }
}

/// Which endpoints a check belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All three.
    All,
    /// `/readyz` alone.
    Ready,
    /// `/healthz` and `/livez`.
    Alive,
    /// `/healthz` and `/readyz`: to start anew would not help.
    NotLive,
}

struct Row {
    name: &'static str,
    scope: Scope,
    check: Arc<dyn Check>,
}

/// The checks of a server, in the order they were added.
pub struct Health {
    rows: Vec<Row>,
    slis: Registry,
    state: Gauge,
    outcomes: Counter,
}

impl Default for Health {
    fn default() -> Self {
        let slis = Registry::new();
        Self {
            rows: Vec::new(),
            state: slis.gauge(
                "kubernetes_healthcheck",
                "[STABLE] This metric records the result of a single healthcheck.",
                &["name", "type"],
            ),
            outcomes: slis.counter(
                "kubernetes_healthchecks_total",
                "[STABLE] This metric records the results of all healthcheck.",
                &["name", "status", "type"],
            ),
            slis,
        }
    }
}

const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];

impl Health {
    /// Without checks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check.
    pub fn add(&mut self, name: &'static str, scope: Scope, check: Arc<dyn Check>) {
        self.rows.push(Row { name, scope, check });
    }

    /// `/metrics/slis`: what came of the checks that were asked for.
    pub fn slis(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.slis.encode()));
        let media_type = HeaderValue::from_static(base::metrics::TEXT_FORMAT);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, media_type);
        response
    }

    async fn run(&self, endpoint: &str, row: &Row) -> Result<(), String> {
        let outcome = run(row).await;
        let (state, status) = match outcome {
            Ok(()) => (1.0, "success"),
            Err(_) => (0.0, "error"),
        };
        self.state.set(&[row.name, endpoint], state);
        self.outcomes.increment(&[row.name, status, endpoint]);
        outcome
    }

    /// All paths that answer.
    pub fn paths(&self) -> impl Iterator<Item = String> {
        ENDPOINTS.into_iter().flat_map(|endpoint| {
            let own = self
                .checks_of(endpoint)
                .map(move |row| format!("/{endpoint}/{}", row.name));
            std::iter::once(format!("/{endpoint}")).chain(own)
        })
    }

    /// Answers, if the path is one of health's. Any method will do.
    pub async fn respond(&self, path: &str, query: &Query) -> Option<Response<Bytes>> {
        let path = path.strip_prefix('/')?;
        let (endpoint, check) = match path.split_once('/') {
            Some((endpoint, check)) => (endpoint, Some(check)),
            None => (path, None),
        };
        if !ENDPOINTS.contains(&endpoint) {
            return None;
        }
        let Some(check) = check else {
            return Some(self.all(endpoint, query).await);
        };
        let Some(row) = self.checks_of(endpoint).find(|row| row.name == check) else {
            return Some(text(
                StatusCode::NOT_FOUND,
                "404 page not found\n".to_owned(),
                true,
            ));
        };
        Some(match self.run(endpoint, row).await {
            Ok(()) => text(StatusCode::OK, "ok".to_owned(), false),
            Err(reason) => {
                let message = format!("internal server error: {reason}\n");
                text(StatusCode::INTERNAL_SERVER_ERROR, message, true)
            }
        })
    }

    async fn all(&self, endpoint: &str, query: &Query) -> Response<Bytes> {
        let mut excluded: Vec<&str> = query
            .all("exclude")
            .filter(|name| !name.is_empty())
            .collect();
        let mut lines = String::new();
        let mut failed = Vec::new();
        for row in self.checks_of(endpoint) {
            let name = row.name;
            if let Some(index) = excluded.iter().position(|excluded| *excluded == name) {
                excluded.swap_remove(index);
                lines.push_str(&format!("[+]{name} excluded: ok\n"));
                continue;
            }
            match self.run(endpoint, row).await {
                Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
                Err(reason) => {
                    failed.push(format!("{name}: {reason}"));
                    lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
                }
            }
        }
        if !excluded.is_empty() {
            let names: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
            let names = names.join(",");
            lines.push_str(&format!(
                "warn: some health checks cannot be excluded: no matches for {names}\n"
            ));
        }
        if !failed.is_empty() {
            tracing::warn!(endpoint, checks = failed.join(", "), "health check failed");
            let body = format!("{lines}{endpoint} check failed\n");
            return text(StatusCode::INTERNAL_SERVER_ERROR, body, true);
        }
        let verbose = query.get("verbose").is_some();
        let body = if verbose {
            format!("{lines}{endpoint} check passed\n")
        } else {
            "ok".to_owned()
        };
        text(StatusCode::OK, body, true)
    }

    fn checks_of(&self, endpoint: &str) -> impl Iterator<Item = &Row> {
        let (live, ready) = (endpoint == "livez", endpoint == "readyz");
        self.rows.iter().filter(move |row| match row.scope {
            Scope::All => true,
            Scope::Ready => ready,
            Scope::Alive => !ready,
            Scope::NotLive => !live,
        })
    }
}

async fn run(row: &Row) -> Result<(), String> {
    match tokio::time::timeout(CHECK_TIMEOUT, row.check.check()).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!("no answer within {} s", CHECK_TIMEOUT.as_secs())),
    }
}

fn text(code: StatusCode, body: String, no_sniff: bool) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    if no_sniff {
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(health: &Health, path: &str, query: &str) -> (u16, String) {
        let response = health.respond(path, &Query::parse(query)).await.unwrap();
        (
            response.status().as_u16(),
            String::from_utf8(response.body().to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn answers_are_worded_as_upstream_words_them() {
        let mut health = Health::new();
        health.add("ping", Scope::All, Arc::new(Ping));
        let stage = Done::default();
        let name = "poststarthook/rbac/bootstrap-roles";
        health.add(name, Scope::All, Arc::new(stage.clone()));
        health.add("shutdown", Scope::Ready, Arc::new(Ping));
        let failed = "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nlivez check failed\n";
        assert_eq!(ask(&health, "/livez", "").await, (500, failed.to_owned()));
        let path = "/livez/poststarthook/rbac/bootstrap-roles";
        assert_eq!(
            ask(&health, path, "").await,
            (500, "internal server error: not finished\n".to_owned())
        );
        stage.set();
        assert_eq!(ask(&health, path, "").await, (200, "ok".to_owned()));
        assert_eq!(ask(&health, "/readyz", "").await, (200, "ok".to_owned()));
        let verbose = "[+]ping excluded: ok\n[+]poststarthook/rbac/bootstrap-roles ok\n[+]shutdown ok\nreadyz check passed\n";
        assert_eq!(
            ask(&health, "/readyz", "verbose&exclude=ping").await,
            (200, verbose.to_owned())
        );
        assert_eq!(
            ask(&health, "/livez/shutdown", "").await,
            (404, "404 page not found\n".to_owned())
        );
        assert!(health.respond("/health", &Query::default()).await.is_none());
    }
}
