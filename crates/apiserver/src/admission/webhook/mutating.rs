//! MutatingAdmissionWebhook: webhooks that change objects, one after the other, in order of their configurations' names.

use std::time::Instant;

use apimachinery::{Object, go, status::Status};
use async_trait::async_trait;
use serde::Serialize;
use serde_json::Value;

use super::{
    super::{
        Admission, Dependencies, Operation, Plugin, UnknownFields, json_patch,
        matching::Invocation, metrics::Phase,
    },
    call::{Refusal, ask},
    hook::Hook,
    hooks::{Configurations, Hooks},
    review::Answer,
};

const NAME: &str = "MutatingAdmissionWebhook";

pub(in super::super) struct MutatingAdmissionWebhook {
    hooks: Hooks,
}

impl MutatingAdmissionWebhook {
    pub(in super::super) fn new(
        dependencies: &Dependencies,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let hooks = Hooks::new(dependencies, Phase::Admit, configuration)?;
        Ok(Self { hooks })
    }

    /// Asks one and applies what it answers; whether that changed the object.
    async fn call(
        &self,
        hook: &Hook,
        admission: &mut Admission<'_>,
        invocation: &Invocation,
        object: Option<Object>,
        old: Option<Object>,
    ) -> Result<Option<Value>, Refusal> {
        let resources = &*self.hooks.resources;
        let answer = ask(
            hook,
            true,
            admission,
            invocation,
            object.as_ref(),
            old.as_ref(),
        )
        .await?;
        let Some(patch) = operations(&answer)? else {
            return Ok(None);
        };
        let Some(before) = object else {
            return Err(Refusal::Internal(Status::internal(format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                hook.name
            ))));
        };
        let patched = json_patch::apply(&before, &patch)
            .map_err(|failure| Refusal::Internal(Status::internal(failure.reason)))?;
        let after = resources
            .complete(patched, &invocation.kind, UnknownFields::Dropped)
            .map_err(|error| Refusal::Internal(Status::internal(error)))?;
        let changed = after != before;
        let after = if invocation.kind == *admission.kind {
            after
        } else {
            let own = resources.convert(after, admission.kind).await;
            own.map_err(|error| Refusal::Internal(Status::internal(error)))?
        };
        admission.replace_object(after);
        Ok(changed.then_some(patch))
    }

    async fn dispatch(
        &self,
        configurations: &Configurations,
        admission: &mut Admission<'_>,
    ) -> Result<(), Status> {
        let hooks = configurations.iter().flat_map(|hooks| hooks.iter());
        for (index, hook) in hooks.enumerate() {
            let Some(invocation) = self.hooks.matches(hook, admission).await? else {
                continue;
            };
            let (new, old) = self.hooks.versioned(admission, &invocation).await?;
            let (new_view, old_view) = (new.as_ref(), old.as_ref());
            let hooks = &self.hooks;
            if !hooks.conditions_are_met(hook, admission, &invocation, new_view, old_view)? {
                continue;
            }
            if !admission.reinvocation.may_ask(NAME, &hook.uid) {
                continue;
            }
            let round = u8::from(admission.reinvocation.is_again());
            let place = format!("round_{round}_index_{index}");
            let start = Instant::now();
            let result = self.call(hook, admission, &invocation, new, old).await;
            hooks.observe(hook, admission.operation, start.elapsed(), &result);
            annotate(admission, hook, &place, &result);
            if matches!(result, Ok(Some(_))) {
                admission.reinvocation.changed(NAME);
            }
            if hook.reinvocable {
                admission.reinvocation.asked(NAME, &hook.uid);
            }
            match result {
                Ok(_) => {}
                Err(Refusal::Denied(status) | Refusal::Internal(status)) => return Err(status),
                Err(Refusal::Failed { reason, .. }) => {
                    let failure = Refusal::failure(hook, &reason);
                    if !hook.ignores_failure {
                        return Err(Status::internal(failure));
                    }
                    tracing::warn!(%failure, "failing open");
                    let key = format!("failed-open.mutation.webhook.admission.k8s.io/{place}");
                    admission.notes.annotate(key, hook.name.clone());
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn admit(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        let Some(configurations) = self.hooks.for_request(admission)? else {
            return Ok(());
        };
        let object = admission.object.as_deref();
        admission.reinvocation.enter(NAME, object);
        // Boxed: what a call needs would else be allocated for each request, where nobody is to be asked, too.
        let result = Box::pin(self.dispatch(&configurations, admission)).await;
        let object = admission.object.as_deref();
        admission.reinvocation.leave(NAME, object);
        result
    }
}

/// A patch that is none.
fn failed(reason: String) -> Refusal {
    Refusal::Failed { reason, code: 503 }
}

/// The operations of an answer's patch, if there are any.
fn operations(answer: &Answer) -> Result<Option<Value>, Refusal> {
    if answer.patch.is_empty() {
        return Ok(None);
    }
    let operations: Value = serde_json::from_slice(&answer.patch).map_err(|error| {
        failed(format!(
            "received undecodable patch in webhook response: {error}"
        ))
    })?;
    match &operations {
        Value::Null => return Ok(None),
        Value::Array(list) if list.is_empty() => return Ok(None),
        Value::Array(list) if list.iter().all(Value::is_object) => {}
        _ => {
            return Err(failed(
                "received undecodable patch in webhook response: json: cannot unmarshal into Go value of type jsonpatch.Patch"
                    .to_owned(),
            ));
        }
    }
    if answer.patch_type != "JSONPatch" {
        return Err(failed(format!(
            "unsupported patch type {:?}",
            answer.patch_type
        )));
    }
    Ok(Some(operations))
}

/// What the audit log is told of a webhook that was asked; its readers know the fields in this order.
#[derive(Serialize)]
struct MutationNote<'a> {
    configuration: &'a str,
    webhook: &'a str,
    mutated: bool,
}

/// The same of what it changed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PatchNote<'a> {
    configuration: &'a str,
    webhook: &'a str,
    patch: &'a Value,
    patch_type: &'static str,
}

/// Tells the audit log who changed what.
fn annotate(
    admission: &Admission<'_>,
    hook: &Hook,
    place: &str,
    result: &Result<Option<Value>, Refusal>,
) {
    let note = |sort: &str, json: serde_json::Result<String>| {
        if let Ok(json) = json {
            let key = format!("{sort}.webhook.admission.k8s.io/{place}");
            admission.notes.annotate(key, go::escape_markup(json));
        }
    };
    let (configuration, webhook) = (&*hook.configuration, &*hook.name);
    let mutation = MutationNote {
        configuration,
        webhook,
        mutated: matches!(result, Ok(Some(_))),
    };
    note("mutation", serde_json::to_string(&mutation));
    if let Ok(Some(patch)) = result {
        let patch = PatchNote {
            configuration,
            webhook,
            patch,
            patch_type: "JSONPatch",
        };
        note("patch", serde_json::to_string(&patch));
    }
}
