//! ValidatingAdmissionPolicy: expressions that must be true of a request.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use api::kinds::admissionregistration::expressions::{Expressions, Returns, Uses};
use apimachinery::{
    Object, go,
    status::{Status, StatusCause},
};
use async_trait::async_trait;
use cel::{Activation, Budget, Value};
use serde::Serialize;

use super::{
    super::{
        Admission, AdmissionMetrics, Dependencies, Operation, Plugin,
        matching::Invocation,
        metrics::{ConditionOwner, ErrorType, OwnerKind},
        webhook::versioned,
    },
    Inputs, RequestAuthorizer,
    binding::Binding,
    definition::{self, Body},
    expression::{Evaluated, Expression, Failure, OutOfBudget},
    policies::{Misconfigured, Planned, Policies},
};
use crate::lookup;

/// Longer messages of a `messageExpression` are not used.
const MAX_MESSAGE_BYTES: usize = 5 << 10;
/// Longer values of audit annotations are cut.
const MAX_ANNOTATION_BYTES: usize = 10 << 10;

/// Expressions that must be true, and what the audit log is told.
pub(super) struct Validations {
    all: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
}

type Policy = definition::Policy<Validations>;

struct Validation {
    expression: Expression,
    message_expression: Option<Expression>,
    message: String,
    reason: String,
}

/// An expression that does not hold, or has no value.
struct Refusal {
    message: String,
    reason: String,
    /// Its place among the validations.
    index: usize,
    error: ErrorType,
    elapsed: Duration,
}

impl Refusal {
    /// What cannot be evaluated.
    fn failed(failure: Failure, index: usize, elapsed: Duration) -> Self {
        Self {
            message: failure.message,
            reason: String::new(),
            index,
            error: failure.error,
            elapsed,
        }
    }
}

/// What an evaluation of a policy comes to.
#[derive(Default)]
struct Verdict {
    refusals: Vec<Refusal>,
    /// What failed where failures are ignored.
    ignored: Vec<(ErrorType, Duration)>,
    /// Key, and value or failure.
    annotations: Vec<(String, Result<String, Refusal>)>,
}

/// What a policy is evaluated with.
struct Evaluation<'a> {
    inputs: &'a Inputs,
    param: Option<&'a serde_json::Value>,
    authorizer: &'a RequestAuthorizer,
    operation: Operation,
    metrics: &'a AdmissionMetrics,
}

impl Body for Validations {
    fn compile(spec: &Object, expressions: &Expressions) -> Self {
        let all = Uses {
            authorizer: true,
            ..Uses::default()
        };
        let validations = lookup::objects(spec, &["validations"]).map(|validation| {
            let text = |field: &str| lookup::text(validation, &[field]);
            let of_message = text("messageExpression");
            Validation {
                expression: Expression::new(text("expression"), expressions, all, Returns::Bool),
                message_expression: (!of_message.is_empty()).then(|| {
                    let uses = Uses::default();
                    Expression::new(of_message, expressions, uses, Returns::String)
                }),
                message: text("message").trim().to_owned(),
                reason: text("reason").to_owned(),
            }
        });
        let annotations = lookup::objects(spec, &["auditAnnotations"]).map(|annotation| {
            let text = |field: &str| lookup::text(annotation, &[field]);
            let value = text("valueExpression");
            let value = Expression::new(value, expressions, all, Returns::StringOrNull);
            (text("key").to_owned(), value)
        });
        Self {
            all: validations.collect(),
            annotations: annotations.collect(),
        }
    }
}

impl Policy {
    /// Evaluates the policy with one parameter, or without any.
    fn evaluate(&self, with: &Evaluation<'_>) -> Verdict {
        let Evaluation { inputs, param, .. } = *with;
        let authorizer = Some(with.authorizer);
        let activation = || inputs.activation(param, authorizer, &self.variables);
        let owner = ConditionOwner {
            kind: OwnerKind::Policy,
            name: &self.name,
            operation: with.operation,
        };
        match self.conditions.are_met(&activation(), &owner, with.metrics) {
            Ok(true) => {}
            Ok(false) => return Verdict::default(),
            Err(message) => {
                let error = ErrorType::Invalid;
                return self.failed(Failure { message, error });
            }
        }
        let mut budget = Budget::default();
        let values = activation();
        let mut outcomes = Vec::with_capacity(self.body.all.len());
        for validation in &self.body.all {
            let start = Instant::now();
            match validation.expression.evaluate(&values, &mut budget) {
                Ok(outcome) => outcomes.push((outcome, start.elapsed())),
                Err(spent) => return self.failed(spent.into()),
            }
        }
        let of_messages = inputs.activation(param, None, &self.variables);
        let mut verdict = Verdict::default();
        for (index, (validation, outcome)) in self.body.all.iter().zip(outcomes).enumerate() {
            let (outcome, elapsed) = outcome;
            let failure = match outcome {
                Ok(value) if value.as_bool() == Some(true) => continue,
                Ok(_) => match validation.explain(&of_messages, &mut budget) {
                    Ok(message) => {
                        verdict.refusals.push(Refusal {
                            message: validation.message(message.ok().as_ref()),
                            reason: validation.reason.clone(),
                            index,
                            error: ErrorType::None,
                            elapsed,
                        });
                        continue;
                    }
                    Err(OutOfBudget(spent)) => Failure {
                        message: format!("failed messageExpression: {spent}"),
                        error: ErrorType::OutOfBudget,
                    },
                },
                Err(failure) => failure,
            };
            if self.ignores_failure {
                verdict.ignored.push((failure.error, elapsed));
            } else {
                let refusal = Refusal::failed(failure, index, elapsed);
                verdict.refusals.push(refusal);
            }
        }
        self.annotate(with, verdict)
    }

    fn annotate(&self, with: &Evaluation<'_>, mut verdict: Verdict) -> Verdict {
        let authorizer = Some(with.authorizer);
        let values = with
            .inputs
            .activation(with.param, authorizer, &self.variables);
        let mut budget = Budget::default();
        for (key, expression) in &self.body.annotations {
            let start = Instant::now();
            match expression.evaluate(&values, &mut budget) {
                Ok(Ok(value)) => {
                    if let Some(text) = value.as_str().map(str::trim).filter(|t| !t.is_empty()) {
                        let entry = (key.clone(), Ok(text.to_owned()));
                        verdict.annotations.push(entry);
                    }
                }
                Ok(Err(_)) if self.ignores_failure => {}
                Ok(Err(failure)) => {
                    let refusal = Refusal::failed(failure, 0, start.elapsed());
                    verdict.annotations.push((key.clone(), Err(refusal)));
                }
                Err(spent) => return self.failed(spent.into()),
            }
        }
        verdict
    }

    /// What cannot be evaluated refuses, unless failures are ignored.
    fn failed(&self, failure: Failure) -> Verdict {
        let mut verdict = Verdict::default();
        if self.ignores_failure {
            verdict.ignored.push((failure.error, Duration::ZERO));
        } else {
            let refusal = Refusal::failed(failure, 0, Duration::ZERO);
            verdict.refusals.push(refusal);
        }
        verdict
    }
}

impl Validation {
    /// The value of its message expression, if it has any.
    fn explain<'a>(
        &'a self,
        values: &Activation<'a>,
        budget: &mut Budget,
    ) -> Result<Evaluated<'a>, OutOfBudget> {
        match &self.message_expression {
            Some(expression) => expression.evaluate(values, budget),
            None => Ok(Ok(Value::Null)),
        }
    }

    /// What its message expression says if that is fit to be shown, else its message, else its text.
    fn message(&self, evaluated: Option<&Value<'_>>) -> String {
        let said = evaluated.and_then(Value::as_str).map(str::trim);
        let fit = |text: &&str| {
            !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n')
        };
        if let Some(said) = said.filter(fit) {
            return said.to_owned();
        }
        if !self.message.is_empty() {
            return self.message.clone();
        }
        format!("failed expression: {}", self.expression.text().trim())
    }
}

/// A refusal that counts.
struct Denial {
    message: String,
    reason: String,
}

/// What one dispatch gathers.
#[derive(Default)]
struct Gathered {
    denials: Vec<Denial>,
    annotations: BTreeMap<String, Vec<String>>,
}

impl Gathered {
    fn deny(&mut self, policy: &Policy, binding: Option<&Binding>, message: &str, reason: String) {
        let name = &policy.name;
        let message = match binding {
            Some(binding) => format!(
                "ValidatingAdmissionPolicy '{name}' with binding '{}' denied request: {message}",
                binding.name
            ),
            None => format!("ValidatingAdmissionPolicy '{name}' denied request: {message}"),
        };
        self.denials.push(Denial { message, reason });
    }

    /// A policy or a binding that cannot be used refuses as well, unless failures are ignored.
    fn misconfigured(&mut self, misconfigured: &Misconfigured<Validations>) {
        let Misconfigured {
            policy,
            binding,
            error,
        } = misconfigured;
        if !policy.ignores_failure {
            self.deny(policy, binding.as_deref(), error, String::new());
        }
    }

    fn annotate(&mut self, policy: &Policy, key: &str, mut value: String) {
        let mut end = value.len().min(MAX_ANNOTATION_BYTES);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        value.truncate(end);
        let key = format!("{}/{key}", policy.name);
        let values = self.annotations.entry(key).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    /// The first denial is the answer.
    fn into_result(self, admission: &Admission<'_>) -> Result<(), Status> {
        for (key, values) in self.annotations {
            admission.notes.annotate(key, values.join(", "));
        }
        let Some(denial) = self.denials.into_iter().next() else {
            return Ok(());
        };
        let cause = StatusCause::new("", denial.message.clone(), "");
        let mut status = admission.forbidden(denial.message).with_cause(cause);
        (status.code, status.reason) = match denial.reason.as_str() {
            "Forbidden" => (403, denial.reason),
            "Unauthorized" => (401, denial.reason),
            "RequestEntityTooLarge" => (413, denial.reason),
            "" => (422, "Invalid".to_owned()),
            _ => (422, denial.reason),
        };
        Err(status)
    }
}

pub(in super::super) struct ValidatingAdmissionPolicy {
    policies: Policies<Validations>,
}

impl ValidatingAdmissionPolicy {
    pub(in super::super) fn new(dependencies: &Dependencies) -> Self {
        let policies = Policies::new(
            dependencies,
            "validatingadmissionpolicies",
            "validatingadmissionpolicybindings",
        );
        Self { policies }
    }

    async fn inputs(
        &self,
        admission: &Admission<'_>,
        invocation: &Invocation,
    ) -> Result<Inputs, Status> {
        let resources = &*self.policies.resources;
        let object = versioned(resources, admission.new_object(), admission, invocation).await?;
        let old = versioned(resources, admission.old_object, admission, invocation).await?;
        let namespace = self.policies.namespace(admission).await?;
        let (object, old) = (object.as_ref(), old.as_ref());
        let namespace = namespace.as_deref();
        Ok(Inputs::new(admission, invocation, object, old, namespace))
    }

    /// Evaluates what was planned and does with the verdict what the binding says.
    fn judge(
        &self,
        planned: &Planned<Validations>,
        inputs: &Inputs,
        authorizer: &RequestAuthorizer,
        admission: &Admission<'_>,
        gathered: &mut Gathered,
    ) {
        let Planned {
            policy, binding, ..
        } = planned;
        let metrics = &self.policies.metrics;
        let observe = |action: &str, error: ErrorType, elapsed: Duration| {
            metrics.validation(&policy.name, &binding.name, action, error, elapsed);
        };
        for param in &planned.params {
            let verdict = policy.evaluate(&Evaluation {
                inputs,
                param: param.as_ref(),
                authorizer,
                operation: admission.operation,
                metrics,
            });
            for (error, elapsed) in verdict.ignored {
                observe("allow", error, elapsed);
            }
            for refusal in verdict.refusals {
                for action in &binding.actions {
                    let (message, reason) = (&refusal.message, &refusal.reason);
                    let observed = match action.as_str() {
                        "Deny" => {
                            gathered.deny(policy, Some(binding), message, reason.clone());
                            "deny"
                        }
                        "Audit" => {
                            audit(policy, binding, &refusal, admission);
                            "audit"
                        }
                        "Warn" => {
                            admission.notes.warn(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                                policy.name, binding.name
                            ));
                            "warn"
                        }
                        _ => continue,
                    };
                    observe(observed, refusal.error, refusal.elapsed);
                }
            }
            for (key, value) in verdict.annotations {
                match value {
                    Ok(value) => gathered.annotate(policy, &key, value),
                    Err(refusal) => {
                        let message = &refusal.message;
                        gathered.deny(policy, Some(binding), message, String::new());
                        observe("deny", refusal.error, refusal.elapsed);
                    }
                }
            }
        }
    }
}

/// What the audit log is told of a refusal; its readers know the fields in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ValidationFailure<'a> {
    message: &'a str,
    policy: &'a str,
    binding: &'a str,
    expression_index: usize,
    validation_actions: &'a [String],
}

fn audit(policy: &Policy, binding: &Binding, refusal: &Refusal, admission: &Admission<'_>) {
    let failure = ValidationFailure {
        message: &refusal.message,
        policy: &policy.name,
        binding: &binding.name,
        expression_index: refusal.index,
        validation_actions: &binding.actions,
    };
    let Ok(json) = serde_json::to_string(&[failure]) else {
        return;
    };
    let key = "validation.policy.admission.k8s.io/validation_failure";
    admission.notes.annotate(key, go::escape_markup(json));
}

#[async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let plan = self.policies.plan(admission).await?;
        if plan.is_empty() {
            return Ok(());
        }
        let authorizer = self.policies.authorizer(admission);
        let mut gathered = Gathered::default();
        // Policies that want to see the request in the same version see the same.
        let mut seen: Vec<(Invocation, Arc<Inputs>)> = Vec::new();
        for planned in &plan {
            let planned = match planned {
                Ok(planned) if planned.params.is_empty() => continue,
                Ok(planned) => planned,
                Err(misconfigured) => {
                    gathered.misconfigured(misconfigured);
                    continue;
                }
            };
            let invocation = &planned.invocation;
            let known = seen.iter().find(|(known, _)| known == invocation);
            let inputs = match known {
                Some((_, inputs)) => Arc::clone(inputs),
                None => {
                    let inputs = Arc::new(self.inputs(admission, invocation).await?);
                    seen.push((invocation.clone(), Arc::clone(&inputs)));
                    inputs
                }
            };
            self.judge(planned, &inputs, &authorizer, admission, &mut gathered);
        }
        gathered.into_result(admission)
    }
}
