//! ValidatingAdmissionPolicy: expressions that must be true of a request.

use std::{collections::BTreeMap, sync::Arc};

use api::kinds::admissionregistration::expressions::{Expressions, Returns, Uses};
use apimachinery::{
    Object,
    gvk::{GroupResource, GroupVersionKind},
    meta,
    status::{Status, StatusCause},
};
use async_trait::async_trait;
use cel::{Budget, Composed, Value};
use serde_json::json;

use super::{
    super::{
        Admission, Dependencies, Operation, Plugin, Resources,
        compiled::Compiled,
        matching::{Invocation, Matcher, namespace},
        webhook::versioned,
    },
    Inputs, MatchConditions, RequestAuthorizer,
    binding::Binding,
    expression::{Expression, OutOfBudget},
    is_exempt, namespace_name,
    pairs::{Named, Pairs},
    params,
};
use crate::{authz::Authorizer, lookup, reader::ObjectReader};

const GROUP: &str = "admissionregistration.k8s.io";
/// Longer messages of a `messageExpression` are not used.
const MAX_MESSAGE_BYTES: usize = 5 << 10;
/// Longer values of audit annotations are cut.
const MAX_ANNOTATION_BYTES: usize = 10 << 10;

/// A policy, compiled.
pub(super) struct Policy {
    name: String,
    ignores_failure: bool,
    matcher: Option<Matcher>,
    param_kind: Option<GroupVersionKind>,
    conditions: MatchConditions,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
    variables: Vec<Composed>,
}

struct Validation {
    expression: Expression,
    message_expression: Option<Expression>,
    message: String,
    reason: String,
}

/// What became of one expression under one binding and one parameter.
struct Refusal {
    message: String,
    reason: String,
    /// Its place among the validations.
    index: usize,
}

/// What an evaluation of a policy comes to.
#[derive(Default)]
struct Verdict {
    refusals: Vec<Refusal>,
    /// Key, and value or failure.
    annotations: Vec<(String, Result<String, String>)>,
}

impl Named for Policy {
    fn name(&self) -> &str {
        &self.name
    }
}

impl Policy {
    fn of(policy: &Object) -> Self {
        let empty = Object::new();
        let spec = lookup::map(policy, &["spec"]).unwrap_or(&empty);
        let param_kind = params::kind_of(spec);
        let mut expressions = Expressions::new(param_kind.is_some(), true);
        for variable in lookup::objects(spec, &["variables"]) {
            let text = |field: &str| lookup::text(variable, &[field]);
            // One that does not compile fails whatever uses it.
            let _ = expressions.add_variable(text("name"), text("expression"));
        }
        let all = Uses {
            authorizer: true,
            ..Uses::default()
        };
        let validations = lookup::objects(spec, &["validations"]).map(|validation| {
            let text = |field: &str| lookup::text(validation, &[field]);
            let of_message = text("messageExpression");
            Validation {
                expression: Expression::new(text("expression"), &expressions, all, Returns::Bool),
                message_expression: (!of_message.is_empty()).then(|| {
                    let uses = Uses::default();
                    Expression::new(of_message, &expressions, uses, Returns::String)
                }),
                message: text("message").trim().to_owned(),
                reason: text("reason").to_owned(),
            }
        });
        let annotations = lookup::objects(spec, &["auditAnnotations"]).map(|annotation| {
            let text = |field: &str| lookup::text(annotation, &[field]);
            let value = text("valueExpression");
            let value = Expression::new(value, &expressions, all, Returns::StringOrNull);
            (text("key").to_owned(), value)
        });
        Self {
            name: meta::name(policy).to_owned(),
            ignores_failure: lookup::text(spec, &["failurePolicy"]) == "Ignore",
            matcher: lookup::map(spec, &["matchConstraints"]).map(Matcher::of_policy),
            conditions: MatchConditions::of(spec, &expressions),
            validations: validations.collect(),
            annotations: annotations.collect(),
            param_kind,
            variables: expressions.into_variables(),
        }
    }

    /// Evaluates the policy with one parameter, or without any.
    fn evaluate(
        &self,
        inputs: &Inputs,
        param: Option<&serde_json::Value>,
        authorizer: &RequestAuthorizer,
    ) -> Verdict {
        let activation = || inputs.activation(param, Some(authorizer), &self.variables);
        match self.conditions.are_met(&activation()) {
            Ok(true) => {}
            Ok(false) => return Verdict::default(),
            Err(failure) => return self.failed(failure),
        }
        let mut budget = Budget::default();
        let mut verdict = Verdict::default();
        let values = activation();
        let mut outcomes = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            match validation.expression.evaluate(&values, &mut budget) {
                Ok(outcome) => outcomes.push(outcome),
                Err(OutOfBudget(failure)) => return self.failed(failure),
            }
        }
        let of_messages = inputs.activation(param, None, &self.variables);
        for (index, (validation, outcome)) in self.validations.iter().zip(outcomes).enumerate() {
            let refusal = |message: String, reason: String| Refusal {
                message,
                reason,
                index,
            };
            match outcome {
                Ok(value) if value.as_bool() == Some(true) => {}
                Ok(_) => {
                    let message = match &validation.message_expression {
                        Some(expression) => expression.evaluate(&of_messages, &mut budget),
                        None => Ok(Ok(Value::Null)),
                    };
                    match message {
                        Ok(message) => {
                            let message = validation.message(message.ok().as_ref());
                            let reason = validation.reason.clone();
                            verdict.refusals.push(refusal(message, reason));
                        }
                        Err(_) if self.ignores_failure => {}
                        Err(OutOfBudget(failure)) => {
                            let message = format!("failed messageExpression: {failure}");
                            verdict.refusals.push(refusal(message, String::new()));
                        }
                    }
                }
                Err(_) if self.ignores_failure => {}
                Err(failure) => verdict.refusals.push(refusal(failure, String::new())),
            }
        }
        self.annotate(inputs, param, authorizer, verdict)
    }

    fn annotate(
        &self,
        inputs: &Inputs,
        param: Option<&serde_json::Value>,
        authorizer: &RequestAuthorizer,
        mut verdict: Verdict,
    ) -> Verdict {
        let values = inputs.activation(param, Some(authorizer), &self.variables);
        let mut budget = Budget::default();
        for (key, expression) in &self.annotations {
            match expression.evaluate(&values, &mut budget) {
                Ok(Ok(value)) => {
                    if let Some(text) = value.as_str().map(str::trim).filter(|t| !t.is_empty()) {
                        let entry = (key.clone(), Ok(text.to_owned()));
                        verdict.annotations.push(entry);
                    }
                }
                Ok(Err(_)) if self.ignores_failure => {}
                Ok(Err(failure)) => verdict.annotations.push((key.clone(), Err(failure))),
                Err(OutOfBudget(failure)) => return self.failed(failure),
            }
        }
        verdict
    }

    /// What cannot be evaluated refuses, unless failures are ignored.
    fn failed(&self, failure: String) -> Verdict {
        let refusal = Refusal {
            message: failure,
            reason: String::new(),
            index: 0,
        };
        Verdict {
            refusals: if self.ignores_failure {
                Vec::new()
            } else {
                vec![refusal]
            },
            annotations: Vec::new(),
        }
    }
}

impl Validation {
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
    fn deny(&mut self, policy: &Policy, binding: Option<&Binding>, refusal: Refusal) {
        let name = &policy.name;
        let message = refusal.message;
        let message = match binding {
            Some(binding) => format!(
                "ValidatingAdmissionPolicy '{name}' with binding '{}' denied request: {message}",
                binding.name
            ),
            None => format!("ValidatingAdmissionPolicy '{name}' denied request: {message}"),
        };
        self.denials.push(Denial {
            message,
            reason: refusal.reason,
        });
    }

    /// A policy or a binding that cannot be used refuses as well, unless failures are ignored.
    fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, error: &str) {
        if policy.ignores_failure {
            return;
        }
        let what = if binding.is_some() {
            "binding"
        } else {
            "policy"
        };
        let refusal = Refusal {
            message: format!("failed to configure {what}: {error}"),
            reason: String::new(),
            index: 0,
        };
        self.deny(policy, binding, refusal);
    }
}

pub(in super::super) struct ValidatingAdmissionPolicy {
    pairs: Pairs<Policy>,
    reader: Arc<dyn ObjectReader>,
    resources: Arc<dyn Resources>,
    authorizer: Arc<dyn Authorizer>,
}

impl ValidatingAdmissionPolicy {
    pub(in super::super) fn new(dependencies: &Dependencies) -> Self {
        let reader = &dependencies.reader;
        let policies = GroupResource::new(GROUP, "validatingadmissionpolicies");
        let bindings = GroupResource::new(GROUP, "validatingadmissionpolicybindings");
        Self {
            pairs: Pairs::new(
                Compiled::new(Arc::clone(reader), policies, Policy::of),
                Compiled::new(Arc::clone(reader), bindings, Binding::of),
            ),
            reader: Arc::clone(reader),
            resources: Arc::clone(&dependencies.resources),
            authorizer: Arc::clone(&dependencies.authorizer),
        }
    }

    async fn dispatch(
        &self,
        policy: &Policy,
        bindings: &[Arc<Binding>],
        admission: &Admission<'_>,
        gathered: &mut Gathered,
    ) -> Result<(), Status> {
        let Some(matcher) = &policy.matcher else {
            let error = "policy contained no match constraints, a required field";
            gathered.misconfigured(policy, None, error);
            return Ok(());
        };
        let matched = matcher
            .matches(admission, &self.reader, &*self.resources)
            .await;
        let invocation = match matched {
            Ok(Some(invocation)) => invocation,
            Ok(None) => return Ok(()),
            Err(status) => {
                gathered.misconfigured(policy, None, &status.message);
                return Ok(());
            }
        };
        if let Err(error) = params::check_kind(policy.param_kind.as_ref(), &*self.resources) {
            gathered.misconfigured(policy, None, &error);
            return Ok(());
        }
        let mut inputs = None;
        let authorizer = RequestAuthorizer::new(Arc::clone(&self.authorizer), admission);
        for binding in bindings {
            if let Some(matcher) = &binding.matcher {
                match matcher
                    .matches(admission, &self.reader, &*self.resources)
                    .await
                {
                    Ok(Some(_)) => {}
                    Ok(None) => continue,
                    Err(status) => {
                        gathered.misconfigured(policy, Some(binding), &status.message);
                        continue;
                    }
                }
            }
            let kind = policy.param_kind.as_ref();
            let reference = binding.params.as_ref();
            let found =
                params::collect(kind, reference, admission.namespace(), &*self.resources).await;
            let params = match found {
                Ok(params) => params,
                Err(error) => {
                    gathered.misconfigured(policy, Some(binding), &error);
                    continue;
                }
            };
            if inputs.is_none() && !params.is_empty() {
                inputs = Some(self.inputs(admission, &invocation).await?);
            }
            let Some(inputs) = &inputs else { continue };
            for param in &params {
                let verdict = policy.evaluate(inputs, param.as_ref(), &authorizer);
                judge(policy, binding, verdict, admission, gathered);
            }
        }
        for (key, values) in std::mem::take(&mut gathered.annotations) {
            let key = format!("{}/{key}", policy.name);
            admission.notes.annotate(key, values.join(", "));
        }
        Ok(())
    }

    async fn inputs(
        &self,
        admission: &Admission<'_>,
        invocation: &Invocation,
    ) -> Result<Inputs, Status> {
        let resources = &*self.resources;
        let object = versioned(resources, admission.new_object(), admission, invocation).await?;
        let old = versioned(resources, admission.old_object, admission, invocation).await?;
        let namespace = match namespace_name(admission) {
            "" => None,
            name => Some(namespace(&self.reader, name).await?),
        };
        let (object, old) = (object.as_ref(), old.as_ref());
        Ok(Inputs::new(
            admission,
            invocation,
            object,
            old,
            namespace.as_deref(),
        ))
    }
}

/// Does with a verdict what the binding says.
fn judge(
    policy: &Policy,
    binding: &Binding,
    verdict: Verdict,
    admission: &Admission<'_>,
    gathered: &mut Gathered,
) {
    for refusal in verdict.refusals {
        for action in &binding.actions {
            match action.as_str() {
                "Audit" => audit(policy, binding, &refusal, admission),
                "Warn" => admission.notes.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                    policy.name, binding.name, refusal.message
                )),
                _ => {}
            }
        }
        if binding.actions.iter().any(|action| action == "Deny") {
            gathered.deny(policy, Some(binding), refusal);
        }
    }
    for (key, value) in verdict.annotations {
        match value {
            Ok(mut value) => {
                let mut end = value.len().min(MAX_ANNOTATION_BYTES);
                while !value.is_char_boundary(end) {
                    end -= 1;
                }
                value.truncate(end);
                let values = gathered.annotations.entry(key).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            Err(message) => {
                let refusal = Refusal {
                    message,
                    reason: String::new(),
                    index: 0,
                };
                gathered.deny(policy, Some(binding), refusal);
            }
        }
    }
}

fn audit(policy: &Policy, binding: &Binding, refusal: &Refusal, admission: &Admission<'_>) {
    let failure = json!([{
        "message": refusal.message,
        "policy": policy.name,
        "binding": binding.name,
        "expressionIndex": refusal.index,
        "validationActions": binding.actions,
    }]);
    let key = "validation.policy.admission.k8s.io/validation_failure";
    admission.notes.annotate(key, failure.to_string());
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
        if is_exempt(admission) {
            return Ok(());
        }
        if !self.pairs.is_ready() {
            return Err(admission.forbidden("not yet ready to handle request"));
        }
        let mut gathered = Gathered::default();
        for (policy, bindings) in self.pairs.get().iter() {
            self.dispatch(policy, bindings, admission, &mut gathered)
                .await?;
        }
        let Some(denial) = gathered.denials.into_iter().next() else {
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
