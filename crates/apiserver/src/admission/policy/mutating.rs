//! MutatingAdmissionPolicy: expressions that change objects, by a configuration to be merged in (as server-side apply merges) or by a JSON
//! patch. Policies one after the other in order of name, each seeing what those before it made of the object.

use std::time::Instant;

use api::kinds::admissionregistration::expressions::{Expressions, Returns, Uses};
use apimachinery::{
    Object,
    managed_fields::Nulls,
    status::{Status, StatusCause},
};
use async_trait::async_trait;
use cel::Budget;
use serde_json::Value as Json;

use super::{
    super::{
        Admission, Dependencies, Operation, Plugin, Resources, UnknownFields, json_patch,
        matching::Invocation,
        metrics::{ConditionOwner, ErrorType, OwnerKind},
        webhook::versioned,
    },
    Inputs, RequestAuthorizer,
    binding::Binding,
    definition::{self, Body},
    expression::{self, Expression},
    param_key,
    policies::{Planned, Policies},
};
use crate::lookup;

const NAME: &str = "MutatingAdmissionPolicy";

/// Changes, one after the other.
pub(super) struct Mutations {
    /// Whether it wants to see what became of an object after it.
    reinvocable: bool,
    all: Vec<Mutation>,
}

type Policy = definition::Policy<Mutations>;

struct Mutation {
    sort: Sort,
    expression: Expression,
}

#[derive(Clone, Copy)]
enum Sort {
    Apply,
    JsonPatch,
}

impl Body for Mutations {
    fn compile(spec: &Object, expressions: &Expressions) -> Self {
        let uses = Uses {
            authorizer: true,
            patches: true,
        };
        let mutations = lookup::objects(spec, &["mutations"]).map(|mutation| {
            let json_patch = lookup::text(mutation, &["patchType"]) == "JSONPatch";
            let (sort, field, returns) = if json_patch {
                (Sort::JsonPatch, "jsonPatch", Returns::JsonPatch)
            } else {
                (Sort::Apply, "applyConfiguration", Returns::Object)
            };
            let text = lookup::text(mutation, &[field, "expression"]);
            Mutation {
                sort,
                expression: Expression::new(text, expressions, uses, returns),
            }
        });
        Self {
            reinvocable: lookup::text(spec, &["reinvocationPolicy"]) == "IfNeeded",
            all: mutations.collect(),
        }
    }
}

impl Policy {
    /// The object as one mutation wants it, not yet completed; none if it wants no change.
    fn mutate(
        &self,
        mutation: &Mutation,
        object: &Object,
        inputs: &Inputs,
        call: &Call<'_>,
        resources: &dyn Resources,
    ) -> Result<Option<Object>, expression::Failure> {
        let values = inputs.activation(call.param, Some(call.authorizer), &self.variables);
        let mut budget = Budget::default();
        let value = mutation.expression.evaluate(&values, &mut budget)??;
        let patched = mutation.apply(&value, object, call.invocation, resources);
        patched.map_err(|message| expression::Failure {
            message,
            error: ErrorType::Invalid,
        })
    }
}

impl Mutation {
    /// What the value of its expression makes of the object.
    fn apply(
        &self,
        value: &cel::Value<'_>,
        object: &Object,
        invocation: &Invocation,
        resources: &dyn Resources,
    ) -> Result<Option<Object>, String> {
        if matches!(self.sort, Sort::Apply) {
            let checked = value.check_object_names();
            checked.map_err(|error| format!("type mismatch: {error}"))?;
        }
        let json = value
            .to_json()
            .ok_or("the expression evaluated to what JSON has no form for")?;
        match (self.sort, json) {
            (Sort::JsonPatch, operations @ Json::Array(_)) => {
                match json_patch::apply(object, &without_nulls(operations)) {
                    Ok(patched) => Ok(Some(patched)),
                    // A test that fails says that there is nothing to do.
                    Err(failure) if failure.is_test => Ok(None),
                    Err(failure) => Err(format!("JSON Patch: {}", failure.reason)),
                }
            }
            (Sort::Apply, Json::Object(mut configuration)) => {
                for name in ["apiVersion", "kind"] {
                    if let Some(value) = object.get(name) {
                        configuration.insert(name.to_owned(), value.clone());
                    }
                }
                let nulls = match value.makes_null() {
                    true => Nulls::Refused,
                    false => Nulls::Allowed,
                };
                resources
                    .merge(object, &configuration, &invocation.kind, nulls)
                    .map(Some)
                    .map_err(|error| format!("error applying patch: {error}"))
            }
            (_, other) => Err(format!("unsupported return type: {other}")),
        }
    }
}

/// Operations as the library takes them: a `from` that was not given is not there.
fn without_nulls(mut operations: Json) -> Json {
    for operation in operations.as_array_mut().into_iter().flatten() {
        if let Some(operation) = operation.as_object_mut() {
            operation
                .retain(|name, value| name != "from" || !matches!(value.as_str(), None | Some("")));
        }
    }
    operations
}

/// One policy under one binding with one parameter.
struct Call<'a> {
    policy: &'a Policy,
    binding: &'a Binding,
    invocation: &'a Invocation,
    param: Option<&'a Json>,
    authorizer: &'a RequestAuthorizer,
}

impl Call<'_> {
    /// What reinvocation knows it by.
    fn key(&self) -> String {
        format!(
            "{}/{}/{}",
            self.policy.name,
            self.binding.name,
            param_key(self.param)
        )
    }
}

/// Why a policy could not do its work.
struct Failure {
    message: String,
    /// What the answer's reason is, beyond that it is forbidden.
    reason: &'static str,
}

impl Failure {
    fn new(policy: &Policy, binding: Option<&Binding>, error: &str) -> Self {
        let name = &policy.name;
        Self {
            message: match binding {
                Some(binding) => format!(
                    "policy '{name}' with binding '{}' denied request: {error}",
                    binding.name
                ),
                None => format!("policy {name:?} denied request: {error}"),
            },
            reason: "",
        }
    }
}

pub(in super::super) struct MutatingAdmissionPolicy {
    policies: Policies<Mutations>,
}

impl MutatingAdmissionPolicy {
    pub(in super::super) fn new(dependencies: &Dependencies) -> Self {
        let policies = Policies::new(
            dependencies,
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicybindings",
        );
        Self { policies }
    }

    async fn dispatch(
        &self,
        admission: &mut Admission<'_>,
        plan: &[Planned<Mutations>],
        failures: &mut Vec<Failure>,
    ) -> Result<(), Status> {
        let namespace = self.policies.namespace(admission).await?;
        let authorizer = self.policies.authorizer(admission);
        let mut patched = false;
        for planned in plan {
            for param in &planned.params {
                let call = Call {
                    policy: &planned.policy,
                    binding: &planned.binding,
                    invocation: &planned.invocation,
                    param: param.as_ref(),
                    authorizer: &authorizer,
                };
                patched |= self
                    .call(admission, &call, namespace.as_deref(), failures)
                    .await?;
            }
        }
        if patched {
            // Whoever is willing is asked once more, even those who made the last change and those who changed nothing.
            admission.reinvocation.changed(NAME);
        }
        Ok(())
    }

    /// Whether any of its mutations could be made.
    async fn call(
        &self,
        admission: &mut Admission<'_>,
        call: &Call<'_>,
        namespace: Option<&Object>,
        failures: &mut Vec<Failure>,
    ) -> Result<bool, Status> {
        let (policy, invocation) = (call.policy, call.invocation);
        let resources = &*self.policies.resources;
        let mut fail = |error: &str| {
            if !policy.ignores_failure {
                failures.push(Failure {
                    reason: "Invalid",
                    ..Failure::new(policy, Some(call.binding), error)
                });
            }
        };
        let object = versioned(resources, admission.new_object(), admission, invocation).await?;
        let old = versioned(resources, admission.old_object, admission, invocation).await?;
        let see = |admission: &Admission<'_>, object: Option<&Object>| {
            Inputs::new(admission, invocation, object, old.as_ref(), namespace)
        };
        let inputs = see(admission, object.as_ref());
        let met = {
            let authorizer = Some(call.authorizer);
            let values = inputs.activation(call.param, authorizer, &policy.variables);
            let owner = ConditionOwner {
                kind: OwnerKind::Policy,
                name: &policy.name,
                operation: admission.operation,
            };
            let metrics = &self.policies.metrics;
            policy.conditions.are_met(&values, &owner, metrics)
        };
        match met {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => {
                fail(&error);
                return Ok(false);
            }
        }
        let key = call.key();
        if !admission.reinvocation.may_ask(NAME, &key) {
            return Ok(false);
        }
        let Some(before) = object else {
            return Ok(false);
        };
        let mut now = before.clone();
        let mut patched = false;
        for mutation in &policy.body.all {
            let inputs = see(admission, Some(&now));
            let start = Instant::now();
            let mutated = policy.mutate(mutation, &now, &inputs, call, resources);
            let error = match &mutated {
                Ok(_) => ErrorType::None,
                Err(failure) => failure.error,
            };
            let (name, binding) = (&policy.name, &call.binding.name);
            self.policies
                .metrics
                .mutation(name, binding, error, start.elapsed());
            patched |= mutated.is_ok();
            match mutated {
                Ok(Some(mutated)) => {
                    now = resources
                        .complete(mutated, &invocation.kind, UnknownFields::Refused)
                        .map_err(Status::internal)?;
                }
                Ok(None) => {}
                Err(failure) => fail(&failure.message),
            }
        }
        if now != before {
            let own = if invocation.kind == *admission.kind {
                now
            } else {
                resources
                    .convert(now, admission.kind)
                    .await
                    .map_err(|error| {
                        Status::internal(format!("failed to convert object: {error}"))
                    })?
            };
            admission.replace_object(own);
            admission.reinvocation.changed(NAME);
        }
        if policy.body.reinvocable {
            admission.reinvocation.asked(NAME, &key);
        }
        Ok(patched)
    }
}

#[async_trait]
impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, operation: Operation) -> bool {
        operation != Operation::Delete
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let mut failures = Vec::new();
        let mut plan = Vec::new();
        for planned in self.policies.plan(admission).await? {
            match planned {
                Ok(planned) => plan.push(planned),
                Err(wrong) if wrong.policy.ignores_failure => {}
                Err(wrong) => {
                    let binding = wrong.binding.as_deref();
                    failures.push(Failure::new(&wrong.policy, binding, &wrong.error));
                }
            }
        }
        if plan.iter().any(|planned| !planned.params.is_empty()) {
            let object = admission.object.as_deref();
            admission.reinvocation.enter(NAME, object);
            let result = self.dispatch(admission, &plan, &mut failures).await;
            let object = admission.object.as_deref();
            admission.reinvocation.leave(NAME, object);
            result?;
        }
        let Some(first) = failures.first() else {
            return Ok(());
        };
        let mut status = admission.forbidden("admission request denied by policy");
        status.message.clone_from(&first.message);
        if !first.reason.is_empty() {
            first.reason.clone_into(&mut status.reason);
        }
        for failure in failures {
            status = status.with_cause(StatusCause::new("", failure.message, ""));
        }
        Err(status)
    }
}
