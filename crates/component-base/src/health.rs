//! Health checks by name, as upstream's components answer them: `ok`, all of them with `?verbose`, or one at its own path; what failed is
//! told, why is told only at the path of the check itself. What came of them is counted for `/metrics/slis`.

use std::{fmt::Write as _, sync::Arc};

use base::metrics::{Counter, Gauge, Registry};
use http::{Response, StatusCode};

use crate::answer::{Body, text};

type Run = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// One check.
#[derive(Clone)]
pub struct Check {
    name: &'static str,
    run: Run,
}

impl Check {
    /// Of that name; the error says why not.
    pub fn new(
        name: &'static str,
        run: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            run: Arc::new(run),
        }
    }

    /// Whoever answers is well.
    pub fn ping() -> Self {
        Self::new("ping", || Ok(()))
    }
}

/// The checks of one endpoint; `ping` if there is no other.
#[derive(Clone)]
pub struct Checks(Vec<Check>);

impl Checks {
    /// These, in their order.
    pub fn new(mut checks: Vec<Check>) -> Self {
        if checks.is_empty() {
            checks.push(Check::ping());
        }
        Self(checks)
    }
}

/// Where what came of them is counted.
pub(crate) struct Slis {
    registry: Registry,
    state: Gauge,
    outcomes: Counter,
}

impl Slis {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        Self {
            state: registry.gauge(
                "kubernetes_healthcheck",
                "[STABLE] This metric records the result of a single healthcheck.",
                &["name", "type"],
            ),
            outcomes: registry.counter(
                "kubernetes_healthchecks_total",
                "[STABLE] This metric records the results of all healthcheck.",
                &["name", "status", "type"],
            ),
            registry,
        }
    }

    pub(crate) fn encode(&self) -> String {
        self.registry.encode()
    }

    fn count(&self, check: &str, endpoint: &str, outcome: &Result<(), String>) {
        let (state, status) = match outcome {
            Ok(()) => (1.0, "success"),
            Err(_) => (0.0, "error"),
        };
        self.state.set(&[check, endpoint], state);
        self.outcomes.increment(&[check, status, endpoint]);
    }
}

impl Checks {
    /// The paths below `endpoint`.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|check| check.name)
    }

    /// `/healthz`, with its query.
    pub(crate) fn all(&self, endpoint: &str, query: &str, slis: &Slis) -> Response<Body> {
        let (mut excluded, mut verbose) = (Vec::new(), false);
        for pair in query.split('&') {
            match pair.split_once('=').unwrap_or((pair, "")) {
                ("exclude", name) => excluded.push(name),
                ("verbose", _) => verbose = true,
                _ => {}
            }
        }
        let (mut report, mut failures) = (String::new(), Vec::new());
        for check in &self.0 {
            if excluded.contains(&check.name) {
                let _ = writeln!(report, "[+]{} excluded: ok", check.name);
                continue;
            }
            let outcome = (check.run)();
            slis.count(check.name, endpoint, &outcome);
            let _ = match outcome {
                Ok(()) => writeln!(report, "[+]{} ok", check.name),
                Err(error) => {
                    failures.push(format!("[-]{} failed: {error}", check.name));
                    writeln!(report, "[-]{} failed: reason withheld", check.name)
                }
            };
        }
        excluded.retain(|name| !self.names().any(|known| known == *name));
        if !excluded.is_empty() {
            excluded.sort_unstable();
            excluded.dedup();
            let unknown: Vec<String> = excluded.iter().map(|name| format!("{name:?}")).collect();
            let _ = writeln!(
                report,
                "warn: some health checks cannot be excluded: no matches for {}",
                unknown.join(", ")
            );
        }
        if !failures.is_empty() {
            tracing::info!(endpoint, ?failures, "a health check failed");
            let _ = writeln!(report, "{endpoint} check failed");
            return text(StatusCode::INTERNAL_SERVER_ERROR, report);
        }
        if !verbose {
            return text(StatusCode::OK, "ok");
        }
        let _ = writeln!(report, "{endpoint} check passed");
        text(StatusCode::OK, report)
    }

    /// `/healthz/ping`; nothing if there is no such check.
    pub(crate) fn one(&self, name: &str) -> Option<Response<Body>> {
        let check = self.0.iter().find(|check| check.name == name)?;
        Some(match (check.run)() {
            Ok(()) => text(StatusCode::OK, "ok"),
            Err(error) => text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("internal server error: {error}\n"),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    async fn shown(response: Response<Body>) -> (u16, String) {
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn what_failed_is_told_and_why_is_not() {
        let checks = Checks::new(vec![
            Check::ping(),
            Check::new("leaderElection", || Err("lost".to_owned())),
        ]);
        let slis = Slis::new();
        let (code, report) = shown(checks.all("readyz", "", &slis)).await;
        assert_eq!(code, 500);
        assert_eq!(
            report,
            "[+]ping ok\n[-]leaderElection failed: reason withheld\nreadyz check failed\n"
        );
        let query = "verbose&exclude=leaderElection&exclude=none";
        let (code, report) = shown(checks.all("readyz", query, &slis)).await;
        assert_eq!(code, 200);
        assert_eq!(
            report,
            "[+]ping ok\n[+]leaderElection excluded: ok\n\
             warn: some health checks cannot be excluded: no matches for \"none\"\nreadyz check passed\n"
        );
        let one = shown(checks.one("leaderElection").unwrap()).await;
        assert_eq!(one, (500, "internal server error: lost\n".to_owned()));
        assert!(checks.one("none").is_none());
        let ping = Checks::new(Vec::new());
        assert_eq!(
            shown(ping.all("livez", "", &slis)).await,
            (200, "ok".to_owned())
        );
        assert!(slis.encode().contains(
            "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"livez\"} 1"
        ));
    }
}
