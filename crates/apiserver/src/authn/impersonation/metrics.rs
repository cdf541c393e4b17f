//! `apiserver_impersonation_*`: attempts, and the questions to the authorizer that they cost, by the way that was tried.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use base::metrics::{Counter, Histogram, Registry};

use super::mode::Mode;
use crate::{
    authz::{Attributes, Authorizer, Decision},
    metrics::SECONDS,
};

const LABELS: &[&str] = &["decision", "mode"];

/// What is counted of impersonation.
pub struct ImpersonationMetrics {
    attempts: Counter,
    attempt_seconds: Histogram,
    questions: Counter,
    question_seconds: Histogram,
}

impl ImpersonationMetrics {
    /// Into `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self {
            attempts: registry.counter(
                "apiserver_impersonation_attempts_total",
                "[ALPHA] Total number of impersonation attempts split by mode and decision.",
                LABELS,
            ),
            attempt_seconds: registry.histogram(
                "apiserver_impersonation_attempts_duration_seconds",
                "[ALPHA] Latency of impersonation attempts in seconds split by mode and decision.",
                LABELS,
                SECONDS,
            ),
            questions: registry.counter(
                "apiserver_impersonation_authorization_attempts_total",
                "[ALPHA] Total number of authorization checks made by the impersonation handler split by mode and decision.",
                LABELS,
            ),
            question_seconds: registry.histogram(
                "apiserver_impersonation_authorization_attempts_duration_seconds",
                "[ALPHA] Latency of authorization checks made by the impersonation handler in seconds split by mode and decision.",
                LABELS,
                SECONDS,
            ),
        }
    }

    /// An attempt went through in this way, or in none.
    pub(super) fn attempted(&self, mode: Option<Mode>, elapsed: Duration) {
        let labels = match mode {
            Some(mode) => ["allowed", mode.label()],
            None => ["denied", ""],
        };
        self.attempts.increment(&labels);
        self.attempt_seconds.observe(&labels, elapsed.as_secs_f64());
    }
}

/// The authorizer, its answers counted as those of one way.
pub(super) struct Counted<'a> {
    pub(super) authorizer: &'a dyn Authorizer,
    pub(super) mode: Mode,
    pub(super) metrics: &'a ImpersonationMetrics,
}

#[async_trait]
impl Authorizer for Counted<'_> {
    async fn authorize(&self, attributes: Attributes<'_>) -> (Decision, String) {
        let start = Instant::now();
        let answer = self.authorizer.authorize(attributes).await;
        let decision = match answer.0 {
            Decision::Allow => "allowed",
            Decision::Deny | Decision::NoOpinion => "denied",
        };
        let labels = [decision, self.mode.label()];
        self.metrics.questions.increment(&labels);
        let seconds = start.elapsed().as_secs_f64();
        self.metrics.question_seconds.observe(&labels, seconds);
        answer
    }
}
