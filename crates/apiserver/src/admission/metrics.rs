//! What admission counts, under upstream's names: how long each phase, each plugin and each webhook takes, what is refused, and what
//! policies decide. The summary that upstream keeps beside the histogram of steps is not kept.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use base::metrics::{Counter, Histogram, HistogramSeries, Registry};

use super::Operation;

const STEP_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOK_SECONDS: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
const CONDITION_SECONDS: &[f64] = &[0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
const EXPRESSION_SECONDS: &[f64] = &[0.000_000_5, 0.001, 0.01, 0.1, 1.0];
/// Codes beyond this one are counted as this one: webhooks choose them.
const MAX_CODE: u16 = 600;

/// A phase of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Objects are changed.
    Admit,
    /// Objects are refused.
    Validate,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }

    /// As the metrics of webhooks call it.
    fn of_webhook(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validating",
        }
    }
}

/// All that is counted. Cheap to clone; clones count the same.
#[derive(Clone)]
pub struct AdmissionMetrics(Arc<Families>);

struct Families {
    step_seconds: Histogram,
    controller_seconds: Histogram,
    webhook_seconds: Histogram,
    webhook_requests: Counter,
    webhook_rejections: Counter,
    webhook_fail_open: Counter,
    condition_seconds: Histogram,
    condition_errors: Counter,
    condition_exclusions: Counter,
    validations: Checks,
    mutations: Checks,
    pod_security_evaluations: Counter,
    pod_security_exemptions: Counter,
    pod_security_errors: Counter,
}

/// Number and duration of the checks of one sort of policies.
struct Checks {
    total: Counter,
    seconds: Histogram,
}

impl Checks {
    fn observe(&self, labels: &[&str], elapsed: Duration) {
        self.total.increment(labels);
        self.seconds.observe(labels, elapsed.as_secs_f64());
    }
}

impl AdmissionMetrics {
    /// Registered there.
    pub fn new(registry: &Registry) -> Self {
        Self(Arc::new(Families {
            step_seconds: registry.histogram(
                "apiserver_admission_step_admission_duration_seconds",
                "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit).",
                &["operation", "rejected", "type"],
                STEP_SECONDS,
            ),
            controller_seconds: registry.histogram(
                "apiserver_admission_controller_admission_duration_seconds",
                "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
                &["name", "operation", "rejected", "type"],
                STEP_SECONDS,
            ),
            webhook_seconds: registry.histogram(
                "apiserver_admission_webhook_admission_duration_seconds",
                "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).",
                &["name", "operation", "rejected", "type"],
                WEBHOOK_SECONDS,
            ),
            webhook_requests: registry.counter(
                "apiserver_admission_webhook_request_total",
                "[ALPHA] Admission webhook request total, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify whether the request was rejected or not and an HTTP status code. Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
                &["code", "name", "operation", "rejected", "type"],
            ),
            webhook_rejections: registry.counter(
                "apiserver_admission_webhook_rejection_count",
                "[ALPHA] Admission webhook rejection count, identified by name and broken out for each admission type (validating or admit) and operation. Additional labels specify an error type (calling_webhook_error or apiserver_internal_error if an error occurred; no_error otherwise) and optionally a non-zero rejection code if the webhook rejects the request with an HTTP status code (honored by the apiserver when the code is greater or equal to 400). Codes greater than 600 are truncated to 600, to keep the metrics cardinality bounded.",
                &["error_type", "name", "operation", "rejection_code", "type"],
            ),
            webhook_fail_open: registry.counter(
                "apiserver_admission_webhook_fail_open_count",
                "[ALPHA] Admission webhook fail open count, identified by name and broken out for each admission type (validating or admit).",
                &["name", "type"],
            ),
            condition_seconds: registry.histogram(
                "apiserver_admission_match_condition_evaluation_seconds",
                "[ALPHA] Admission match condition evaluation time in seconds, identified by name and broken out for each kind containing matchConditions (webhook or policy), operation and type (validate or admit).",
                &["kind", "name", "operation", "type"],
                CONDITION_SECONDS,
            ),
            condition_errors: registry.counter(
                "apiserver_admission_match_condition_evaluation_errors_total",
                "[ALPHA] Admission match condition evaluation errors count, identified by name of resource containing the match condition and broken out for each kind containing matchConditions (webhook or policy), operation and admission type (validate or admit).",
                &["kind", "name", "operation", "type"],
            ),
            condition_exclusions: registry.counter(
                "apiserver_admission_match_condition_exclusions_total",
                "[ALPHA] Admission match condition evaluation exclusions count, identified by name of resource containing the match condition and broken out for each kind containing matchConditions (webhook or policy), operation and admission type (validate or admit).",
                &["kind", "name", "operation", "type"],
            ),
            validations: Checks {
                total: registry.counter(
                    "apiserver_validating_admission_policy_check_total",
                    "[BETA] Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken.",
                    &["enforcement_action", "error_type", "policy", "policy_binding"],
                ),
                seconds: registry.histogram(
                    "apiserver_validating_admission_policy_check_duration_seconds",
                    "[BETA] Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken.",
                    &["enforcement_action", "error_type", "policy", "policy_binding"],
                    EXPRESSION_SECONDS,
                ),
            },
            mutations: Checks {
                total: registry.counter(
                    "apiserver_mutating_admission_policy_check_total",
                    "[ALPHA] Mutation admission policy check total, labeled by policy and further identified by binding.",
                    &["error_type", "policy", "policy_binding"],
                ),
                seconds: registry.histogram(
                    "apiserver_mutating_admission_policy_check_duration_seconds",
                    "[ALPHA] Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.",
                    &["error_type", "policy", "policy_binding"],
                    EXPRESSION_SECONDS,
                ),
            },
            pod_security_evaluations: registry.counter(
                "pod_security_evaluations_total",
                "[ALPHA] Number of policy evaluations that occurred, not counting ignored or exempt requests.",
                &["decision", "mode", "policy_level", "policy_version", "request_operation", "resource", "subresource"],
            ),
            pod_security_exemptions: registry.counter(
                "pod_security_exemptions_total",
                "[ALPHA] Number of exempt requests, not counting ignored or out of scope requests.",
                &["request_operation", "resource", "subresource"],
            ),
            pod_security_errors: registry.counter(
                "pod_security_errors_total",
                "[ALPHA] Number of errors preventing normal evaluation. Non-fatal errors may result in the latest restricted profile being used for evaluation.",
                &["fatal", "request_operation", "resource", "subresource"],
            ),
        }))
    }

    /// The durations of all plugins together.
    pub(super) fn steps(&self) -> Durations {
        Durations {
            family: self.0.step_seconds.clone(),
            name: None,
            series: Default::default(),
        }
    }

    /// The durations of a plugin.
    pub(super) fn plugin(&self, name: &'static str) -> Durations {
        Durations {
            family: self.0.controller_seconds.clone(),
            name: Some(name),
            series: Default::default(),
        }
    }

    /// A webhook was asked: how that ended, and what its answer's code was.
    pub(super) fn webhook(
        &self,
        name: &str,
        phase: Phase,
        operation: Operation,
        elapsed: Duration,
        outcome: WebhookOutcome,
    ) {
        let (phase, operation) = (phase.of_webhook(), operation.name());
        let (code, rejection) = match outcome {
            WebhookOutcome::Allowed => (200, None),
            WebhookOutcome::Denied(code) => (code, Some("no_error")),
            WebhookOutcome::Failed { code, open: true } => (code, None),
            WebhookOutcome::Failed { code, open: false } => (code, Some("calling_webhook_error")),
            WebhookOutcome::Internal => (0, Some("apiserver_internal_error")),
        };
        let code = code.min(MAX_CODE).to_string();
        let rejected = flag(rejection.is_some());
        if let Some(error) = rejection {
            let labels = [error, name, operation, &code, phase];
            self.0.webhook_rejections.increment(&labels);
        }
        if matches!(outcome, WebhookOutcome::Failed { open: true, .. }) {
            self.0.webhook_fail_open.increment(&[name, phase]);
        }
        let labels = [code.as_str(), name, operation, rejected, phase];
        self.0.webhook_requests.increment(&labels);
        let labels = [name, operation, rejected, phase];
        self.0
            .webhook_seconds
            .observe(&labels, elapsed.as_secs_f64());
    }

    /// The match conditions of a webhook or a policy were evaluated.
    pub(super) fn conditions(
        &self,
        owner: &ConditionOwner<'_>,
        elapsed: Duration,
        errors: usize,
        excluded: bool,
    ) {
        let kind = match owner.kind {
            OwnerKind::Webhook(_) => "webhook",
            OwnerKind::Policy => "policy",
        };
        let phase = match owner.kind {
            OwnerKind::Webhook(phase) => phase.of_webhook(),
            OwnerKind::Policy => "validate",
        };
        let labels = [kind, owner.name, owner.operation.name(), phase];
        self.0
            .condition_seconds
            .observe(&labels, elapsed.as_secs_f64());
        for _ in 0..errors {
            self.0.condition_errors.increment(&labels);
        }
        // As upstream, where only webhooks count what their conditions exclude.
        if excluded && matches!(owner.kind, OwnerKind::Webhook(_)) {
            self.0.condition_exclusions.increment(&labels);
        }
    }

    /// An expression of a validating policy was evaluated, and this came of it: `allow`, `deny`, `audit`, `warn`.
    pub(super) fn validation(
        &self,
        policy: &str,
        binding: &str,
        action: &str,
        error: ErrorType,
        elapsed: Duration,
    ) {
        let labels = [action, error.name(), policy, binding];
        self.0.validations.observe(&labels, elapsed);
    }

    /// A mutation of a mutating policy was carried out, or not.
    pub(super) fn mutation(
        &self,
        policy: &str,
        binding: &str,
        error: ErrorType,
        elapsed: Duration,
    ) {
        let labels = [error.name(), policy, binding];
        self.0.mutations.observe(&labels, elapsed);
    }

    /// A pod was held against a level.
    pub(super) fn pod_security_evaluation(
        &self,
        (mode, level, version): (&str, &str, &str),
        refused: bool,
        (operation, resource, subresource): (&str, &str, &str),
    ) {
        let decision = if refused { "deny" } else { "allow" };
        let labels = [
            decision,
            mode,
            level,
            version,
            operation,
            resource,
            subresource,
        ];
        self.0.pod_security_evaluations.increment(&labels);
    }

    /// A pod was not looked at.
    pub(super) fn pod_security_exemption(
        &self,
        (operation, resource, subresource): (&str, &str, &str),
    ) {
        let labels = [operation, resource, subresource];
        self.0.pod_security_exemptions.increment(&labels);
    }

    /// A pod's level could not be read.
    pub(super) fn pod_security_error(
        &self,
        fatal: bool,
        (operation, resource, subresource): (&str, &str, &str),
    ) {
        let labels = [flag(fatal), operation, resource, subresource];
        self.0.pod_security_errors.increment(&labels);
    }
}

fn flag(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// How asking a webhook ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum WebhookOutcome {
    /// It agrees.
    Allowed,
    /// It refuses, with this code.
    Denied(u16),
    /// It could not be asked, or lied; the request goes on if it fails open.
    Failed {
        /// Of the answer, or of what upstream takes such a failure for.
        code: u16,
        /// Whether the request goes on.
        open: bool,
    },
    /// What it wants cannot be done.
    Internal,
}

/// Whose match conditions.
pub(super) struct ConditionOwner<'a> {
    pub(super) kind: OwnerKind,
    pub(super) name: &'a str,
    pub(super) operation: Operation,
}

/// What has match conditions.
#[derive(Clone, Copy, Debug)]
pub(super) enum OwnerKind {
    Webhook(Phase),
    Policy,
}

/// Why an expression has no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorType {
    None,
    Compile,
    OutOfBudget,
    Invalid,
}

impl ErrorType {
    fn name(self) -> &'static str {
        match self {
            Self::None => "no_error",
            Self::Compile => "compile_error",
            Self::OutOfBudget => "out_of_budget",
            Self::Invalid => "invalid_error",
        }
    }
}

/// Phases, operations, and whether it was refused.
const SERIES: usize = 2 * 4 * 2;

/// The durations of a plugin, or of all together. Each series is looked up once, when it is first needed.
pub(super) struct Durations {
    family: Histogram,
    name: Option<&'static str>,
    series: [OnceLock<HistogramSeries>; SERIES],
}

impl Durations {
    /// It took from `start` to now, which is given back.
    pub(super) fn observe(
        &self,
        phase: Phase,
        operation: Operation,
        rejected: bool,
        start: Instant,
    ) -> Instant {
        let now = Instant::now();
        let index = (phase as usize * 4 + operation as usize) * 2 + usize::from(rejected);
        let series = self.series[index].get_or_init(|| {
            let labels = [operation.name(), flag(rejected), phase.name()];
            match self.name {
                None => self.family.series(&labels),
                Some(name) => {
                    let [operation, rejected, phase] = labels;
                    self.family.series(&[name, operation, rejected, phase])
                }
            }
        });
        series.observe(now.duration_since(start).as_secs_f64());
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_of_a_webhook_is_counted_as_upstream_counts_it() {
        let registry = Registry::new();
        let metrics = AdmissionMetrics::new(&registry);
        let outcomes = [
            WebhookOutcome::Allowed,
            WebhookOutcome::Denied(999),
            WebhookOutcome::Failed {
                code: 503,
                open: true,
            },
            WebhookOutcome::Failed {
                code: 503,
                open: false,
            },
            WebhookOutcome::Internal,
        ];
        for outcome in outcomes {
            let elapsed = Duration::from_millis(1);
            metrics.webhook("w", Phase::Validate, Operation::Create, elapsed, outcome);
        }
        let durations = metrics.plugin("Priority");
        durations.observe(Phase::Admit, Operation::Connect, true, Instant::now());
        let text = registry.encode();
        let wanted = [
            r#"webhook_request_total{code="200",name="w",operation="CREATE",rejected="false",type="validating"} 1"#,
            r#"webhook_request_total{code="503",name="w",operation="CREATE",rejected="false",type="validating"} 1"#,
            r#"webhook_rejection_count{error_type="no_error",name="w",operation="CREATE",rejection_code="600",type="validating"} 1"#,
            r#"webhook_rejection_count{error_type="calling_webhook_error",name="w",operation="CREATE",rejection_code="503",type="validating"} 1"#,
            r#"webhook_rejection_count{error_type="apiserver_internal_error",name="w",operation="CREATE",rejection_code="0",type="validating"} 1"#,
            r#"webhook_fail_open_count{name="w",type="validating"} 1"#,
            r#"controller_admission_duration_seconds_count{name="Priority",operation="CONNECT",rejected="true",type="admit"} 1"#,
        ];
        for line in wanted {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }
}
