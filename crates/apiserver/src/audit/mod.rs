//! The audit log: who asked for what, when, and what came of it (`audit.k8s.io/v1`).
//!
//! A [`Policy`] says how much is written of which request; a [`Record`] follows one request and makes an event at each stage; backends write them: a
//! file ([`log`]), a webhook ([`webhook`]). Without a policy and a backend nothing of this costs anything.
//!
//! Bounds: a backend's buffer holds so many events and no more; bodies are kept up to 16 MiB. In batch mode a full buffer loses events (and counts them)
//! rather than hold up requests; in blocking mode requests wait until their events are written.

mod backend;
mod capture;
mod event;
pub mod log;
pub mod policy;
mod record;
pub mod webhook;

use std::{path::PathBuf, sync::Arc};

use base::{
    Clock, TaskGroup,
    metrics::{Counter, Registry},
};

use crate::{context::Context, webhook_client::WebhookClients};
use backend::Backend;
use event::Event;

pub use backend::{BatchConfig, Mode, Throttle, Truncate};
pub use policy::{Policy, PolicyError};
pub(crate) use record::{Annotations, Record};

/// `--audit-…`
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `--audit-policy-file`; without one nothing is written.
    pub policy_file: Option<PathBuf>,
    /// `--audit-log-…`
    pub log: Option<log::Config>,
    /// `--audit-webhook-…`
    pub webhook: Option<webhook::Config>,
}

/// Why there can be no audit log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy.
    #[error("loading audit policy file: {0}")]
    Policy(#[from] PolicyError),
    /// The file that is written to.
    #[error("ensureLogFile: {0}")]
    Log(#[source] std::io::Error),
    /// The webhook.
    #[error("initializing audit webhook: {0}")]
    Webhook(String),
}

/// An event could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost;

/// The audit log of a server.
pub struct Audit {
    policy: Policy,
    backends: Vec<Backend>,
    clock: Clock,
    events: Counter,
    levels: Counter,
    rejected: Counter,
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

impl Audit {
    /// As configured; `None` if nothing is to be written. The backends run in `tasks`, and write what they hold before they end.
    pub fn start(
        config: &Config,
        clock: &Clock,
        metrics: &Registry,
        webhooks: &WebhookClients,
        tasks: &TaskGroup,
    ) -> Result<Option<Arc<Self>>, Error> {
        let Some(path) = &config.policy_file else {
            return Ok(None);
        };
        let policy = Policy::read(path)?;
        let mut backends = Vec::new();
        if let Some(log) = &config.log {
            let sink = log::FileSink::open(log, clock.clone()).map_err(Error::Log)?;
            let format = log.format;
            let batch = log.batch.clone();
            backends.push(Backend::start(
                "log",
                batch,
                format,
                Box::new(sink),
                metrics,
                tasks,
            ));
        }
        if let Some(webhook) = &config.webhook {
            let sink = webhook::WebhookSink::new(webhook, webhooks)
                .map_err(|error| Error::Webhook(error.to_string()))?;
            let batch = webhook.batch.clone();
            let format = log::Format::Json;
            backends.push(Backend::start(
                "webhook",
                batch,
                format,
                Box::new(sink),
                metrics,
                tasks,
            ));
        }
        if backends.is_empty() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Self::new(policy, backends, clock, metrics))))
    }

    fn new(policy: Policy, backends: Vec<Backend>, clock: &Clock, metrics: &Registry) -> Self {
        Self {
            policy,
            backends,
            clock: clock.clone(),
            events: metrics.counter(
                "apiserver_audit_event_total",
                "[ALPHA] Counter of audit events generated and sent to the audit backend.",
                &[],
            ),
            levels: metrics.counter(
                "apiserver_audit_level_total",
                "Counter of policy levels for audit events (1 per request).",
                &["level"],
            ),
            rejected: metrics.counter(
                "apiserver_audit_requests_rejected_total",
                "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.",
                &[],
            ),
        }
    }

    /// Begins the record of a request whose user is known; none if the policy has no interest in it.
    pub(crate) fn begin(self: &Arc<Self>, context: &Context) -> Option<Arc<Record>> {
        let Some(verdict) = self.policy.evaluate(&context.user, &context.info) else {
            self.levels.increment(&["None"]);
            return None;
        };
        self.levels.increment(&[match verdict.level {
            policy::Level::None => "None",
            policy::Level::Metadata => "Metadata",
            policy::Level::Request => "Request",
            policy::Level::RequestResponse => "RequestResponse",
        }]);
        Some(Arc::new(Record::new(
            Arc::clone(self),
            verdict.clone(),
            context,
        )))
    }

    /// Writes that a request has come; an error says that it may not go on.
    pub(crate) async fn received(&self, record: &Record) -> Result<(), Lost> {
        let outcome = record.received().await;
        if outcome.is_err() {
            self.rejected.increment(&[]);
        }
        outcome
    }

    /// Hands an event to all backends, and waits for those that want it. Lost is what a strict backend could not write.
    async fn submit(&self, event: Event) -> Result<(), Lost> {
        self.events.increment(&[]);
        let mut outcome = Ok(());
        for backend in &self.backends {
            outcome = outcome.and(backend.submit(&event).await);
        }
        outcome
    }

    /// Hands an event over without waiting.
    fn offer(&self, event: Event) {
        self.events.increment(&[]);
        for backend in &self.backends {
            backend.offer(&event);
        }
    }
}

#[cfg(test)]
mod tests;
