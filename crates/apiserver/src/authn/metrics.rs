//! `authentication_*` and `authenticated_user_requests`, under upstream's names.
//!
//! User names are no label values, there may be any number of them: a few that upstream knows stand for themselves, the others are
//! e-mail addresses or something else.

use std::time::Duration;

use base::metrics::{Counter, CounterSeries, Registry};

use crate::metrics::{Attempts, SECONDS};

const SUCCESS: &str = "success";
const FAILURE: &str = "failure";
const ERROR: &str = "error";

/// What is counted of the authentication of requests.
pub struct AuthenticationMetrics {
    attempts: Attempts<3>,
    users: Counter,
}

impl AuthenticationMetrics {
    /// Into `registry`.
    pub fn new(registry: &Registry) -> Self {
        Self {
            attempts: Attempts::new(
                [SUCCESS, FAILURE, ERROR],
                registry.counter(
                    "authentication_attempts",
                    "[ALPHA] Counter of authenticated attempts.",
                    &["result"],
                ),
                registry.histogram(
                    "authentication_duration_seconds",
                    "[ALPHA] Authentication duration in seconds broken out by result.",
                    &["result"],
                    SECONDS,
                ),
            ),
            users: registry.counter(
                "authenticated_user_requests",
                "[ALPHA] Counter of authenticated requests broken out by username.",
                &["username"],
            ),
        }
    }

    /// Somebody was recognised.
    pub fn succeeded(&self, username: &str, elapsed: Duration) {
        self.users.increment(&[category(username)]);
        self.attempts.record(SUCCESS, elapsed);
    }

    /// There were no credentials that anybody knows.
    pub fn failed(&self, elapsed: Duration) {
        self.attempts.record(FAILURE, elapsed);
    }

    /// The credentials were bad, or could not be judged.
    pub fn refused(&self, elapsed: Duration) {
        self.attempts.record(ERROR, elapsed);
    }
}

/// What is counted of service accounts' tokens.
#[derive(Clone)]
pub struct ServiceAccountMetrics {
    /// Tokens that pods keep fresh.
    pub(super) valid: CounterSeries,
    /// Such tokens past the time at which they should have been exchanged.
    pub(super) stale: CounterSeries,
    /// Tokens of the older form: all, those that a controller has made, those that somebody has asked for, those marked invalid.
    pub(super) legacy: CounterSeries,
    pub(super) automatic: CounterSeries,
    pub(super) manual: CounterSeries,
    pub(super) invalidated: CounterSeries,
}

impl ServiceAccountMetrics {
    /// Into `registry`.
    pub fn new(registry: &Registry) -> Self {
        let counter = |name, help| registry.counter(name, help, &[]).series(&[]);
        Self {
            valid: counter(
                "serviceaccount_valid_tokens_total",
                "[ALPHA] Cumulative valid projected service account tokens used",
            ),
            stale: counter(
                "serviceaccount_stale_tokens_total",
                "[ALPHA] Cumulative stale projected service account tokens used",
            ),
            legacy: counter(
                "serviceaccount_legacy_tokens_total",
                "[ALPHA] Cumulative legacy service account tokens used",
            ),
            automatic: counter(
                "serviceaccount_legacy_auto_token_uses_total",
                "[ALPHA] Cumulative auto-generated legacy tokens used",
            ),
            manual: counter(
                "serviceaccount_legacy_manual_token_uses_total",
                "[ALPHA] Cumulative manually created legacy tokens used",
            ),
            invalidated: counter(
                "serviceaccount_invalid_legacy_auto_token_uses_total",
                "[ALPHA] Cumulative invalid auto-generated legacy tokens used",
            ),
        }
    }
}

fn category(username: &str) -> &str {
    match username {
        "admin"
        | "client"
        | "kube_proxy"
        | "kubelet"
        | "system:serviceaccount:kube-system:default" => username,
        address if address.contains('@') => "email_id",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users_are_not_told() {
        let registry = Registry::new();
        let metrics = AuthenticationMetrics::new(&registry);
        for user in ["admin", "jane@example.com", "system:node:n1", "bob"] {
            metrics.succeeded(user, Duration::from_millis(3));
        }
        metrics.failed(Duration::ZERO);
        metrics.refused(Duration::ZERO);
        let shown = registry.encode();
        for sample in [
            "authenticated_user_requests{username=\"admin\"} 1",
            "authenticated_user_requests{username=\"email_id\"} 1",
            "authenticated_user_requests{username=\"other\"} 2",
            "authentication_attempts{result=\"success\"} 4",
            "authentication_attempts{result=\"failure\"} 1",
            "authentication_attempts{result=\"error\"} 1",
            "authentication_duration_seconds_bucket{result=\"success\",le=\"0.004\"} 4",
        ] {
            assert!(shown.contains(sample), "{sample}\n{shown}");
        }
        assert!(!shown.contains("jane") && !shown.contains("bob"));
    }
}
