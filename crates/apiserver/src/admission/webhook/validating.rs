//! ValidatingAdmissionWebhook: webhooks that refuse, all asked at once. Every one is asked to the end, also when another has refused
//! already, as upstream; the first refusal in order is the answer.

use std::{collections::HashMap, sync::Arc};

use apimachinery::{
    Object,
    gvk::{GroupResource, GroupVersionKind},
    status::Status,
};
use async_trait::async_trait;
use futures_util::future::join_all;

use super::{
    super::{
        Admission, Dependencies, Operation, Plugin, Resources,
        compiled::Compiled,
        matching::{Invocation, is_exempt},
    },
    call::{Refusal, ask, conditions_are_met, versioned},
    hook::{Hook, of_configuration},
};
use crate::{authz::Authorizer, reader::ObjectReader};

const CONFIGURATIONS: GroupResource = GroupResource::new(
    "admissionregistration.k8s.io",
    "validatingwebhookconfigurations",
);

pub(in super::super) struct ValidatingAdmissionWebhook {
    hooks: Compiled<Vec<Hook>>,
    reader: Arc<dyn ObjectReader>,
    resources: Arc<dyn Resources>,
    authorizer: Arc<dyn Authorizer>,
}

/// The object and the old one in one version.
type Versioned = (Option<Object>, Option<Object>);

impl ValidatingAdmissionWebhook {
    pub(in super::super) fn new(dependencies: &Dependencies) -> Self {
        let clients = dependencies.webhooks.clone();
        let reader = Arc::clone(&dependencies.reader);
        Self {
            hooks: Compiled::new(Arc::clone(&reader), CONFIGURATIONS, move |configuration| {
                of_configuration(configuration, &clients)
            }),
            reader,
            resources: Arc::clone(&dependencies.resources),
            authorizer: Arc::clone(&dependencies.authorizer),
        }
    }

    async fn call(
        &self,
        hook: &Hook,
        index: usize,
        admission: &Admission<'_>,
        invocation: &Invocation,
        (object, old): &Versioned,
    ) -> Result<(), Status> {
        let asked = ask(
            hook,
            false,
            admission,
            invocation,
            object.as_ref(),
            old.as_ref(),
        )
        .await;
        match asked {
            Ok(_) => Ok(()),
            Err(Refusal::Status(status)) => Err(status),
            Err(Refusal::Failed(reason)) => {
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
        if is_exempt(admission.kind) {
            return Ok(());
        }
        if !self.hooks.is_ready() {
            return Err(admission.forbidden("not yet ready to handle request"));
        }
        let configurations = self.hooks.get();
        let mut relevant: Vec<(&Hook, Invocation)> = Vec::new();
        let mut versions: HashMap<GroupVersionKind, Versioned> = HashMap::new();
        for hook in configurations.iter().flat_map(|hooks| hooks.iter()) {
            let matched = hook
                .matcher
                .matches(admission, &self.reader, &*self.resources)
                .await?;
            let Some(invocation) = matched else { continue };
            if !versions.contains_key(&invocation.kind) {
                let resources = &*self.resources;
                let new = versioned(resources, admission.new_object(), admission, &invocation);
                let old = versioned(resources, admission.old_object, admission, &invocation);
                versions.insert(invocation.kind.clone(), (new.await?, old.await?));
            }
            let (object, old) = &versions[&invocation.kind];
            let (object, old) = (object.as_ref(), old.as_ref());
            if conditions_are_met(hook, admission, &invocation, object, old, &self.authorizer)? {
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
