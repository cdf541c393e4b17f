//! ValidatingAdmissionWebhook: webhooks that refuse, all asked at once. Every one is asked to the end, also when another has refused
//! already, as upstream; the first refusal in order is the answer.

use std::{collections::HashMap, time::Instant};

use apimachinery::{Object, gvk::GroupVersionKind, status::Status};
use async_trait::async_trait;
use futures_util::future::join_all;

use super::{
    super::{Admission, Dependencies, Operation, Plugin, matching::Invocation, metrics::Phase},
    call::{Refusal, ask},
    hook::Hook,
    hooks::Hooks,
};

pub(in super::super) struct ValidatingAdmissionWebhook {
    hooks: Hooks,
}

/// The object and the old one in one version.
type Versioned = (Option<Object>, Option<Object>);

impl ValidatingAdmissionWebhook {
    pub(in super::super) fn new(
        dependencies: &Dependencies,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let hooks = Hooks::new(dependencies, Phase::Validate, configuration)?;
        Ok(Self { hooks })
    }

    async fn call(
        &self,
        hook: &Hook,
        index: usize,
        admission: &Admission<'_>,
        invocation: &Invocation,
        (object, old): &Versioned,
    ) -> Result<(), Status> {
        let start = Instant::now();
        let asked = ask(
            hook,
            false,
            admission,
            invocation,
            object.as_ref(),
            old.as_ref(),
        )
        .await;
        self.hooks
            .observe(hook, admission.operation, start.elapsed(), &asked);
        match asked {
            Ok(_) => Ok(()),
            Err(Refusal::Denied(status) | Refusal::Internal(status)) => Err(status),
            Err(Refusal::Failed { reason, .. }) => {
                let failure = Refusal::failure(hook, &reason);
                if !hook.ignores_failure {
                    return Err(Status::internal(failure));
                }
                tracing::warn!(%failure, "failing open");
                admission.notes.annotate(
                    format!(
                        "failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}"
                    ),
                    hook.name.clone(),
                );
                Ok(())
            }
        }
    }
}

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn validate(&self, admission: &Admission<'_>) -> Result<(), Status> {
        let Some(configurations) = self.hooks.for_request(admission)? else {
            return Ok(());
        };
        let mut relevant: Vec<(&Hook, Invocation)> = Vec::new();
        let mut versions: HashMap<GroupVersionKind, Versioned> = HashMap::new();
        for hook in configurations.iter().flat_map(|hooks| hooks.iter()) {
            let Some(invocation) = self.hooks.matches(hook, admission).await? else {
                continue;
            };
            if !versions.contains_key(&invocation.kind) {
                let versioned = self.hooks.versioned(admission, &invocation).await?;
                versions.insert(invocation.kind.clone(), versioned);
            }
            let (object, old) = &versions[&invocation.kind];
            let (object, old) = (object.as_ref(), old.as_ref());
            let hooks = &self.hooks;
            if hooks.conditions_are_met(hook, admission, &invocation, object, old)? {
                relevant.push((hook, invocation));
            }
        }
        let calls = relevant
            .iter()
            .enumerate()
            .map(|(index, (hook, invocation))| {
                self.call(
                    hook,
                    index,
                    admission,
                    invocation,
                    &versions[&invocation.kind],
                )
            });
        join_all(calls).await.into_iter().collect()
    }
}
