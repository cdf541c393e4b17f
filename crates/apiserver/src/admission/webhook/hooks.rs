//! All webhooks of one sort of configuration, compiled, with what both plugins need to ask them.

use std::{sync::Arc, time::Duration};

use apimachinery::{Object, gvk::GroupResource, status::Status};

use super::{
    super::{
        Admission, Dependencies, Operation, Resources,
        compiled::Compiled,
        matching::{Invocation, is_exempt},
        metrics::{AdmissionMetrics, ConditionOwner, OwnerKind, Phase, WebhookOutcome},
        policy::{Inputs, RequestAuthorizer},
    },
    call::{Refusal, versioned},
    hook::{Calling, Hook, of_configuration},
};
use crate::{authz::Authorizer, reader::ObjectReader};

/// The webhooks of all configurations, those of one configuration together.
pub(super) type Configurations = Arc<[Arc<Vec<Hook>>]>;

pub(super) struct Hooks {
    compiled: Compiled<Vec<Hook>>,
    reader: Arc<dyn ObjectReader>,
    pub(super) resources: Arc<dyn Resources>,
    authorizer: Arc<dyn Authorizer>,
    metrics: AdmissionMetrics,
    phase: Phase,
}

impl Hooks {
    /// Those that are asked in this phase, called as the plugin's own configuration says.
    pub(super) fn new(
        dependencies: &Dependencies,
        phase: Phase,
        configuration: Option<&Object>,
    ) -> Result<Self, String> {
        let configurations = match phase {
            Phase::Admit => "mutatingwebhookconfigurations",
            Phase::Validate => "validatingwebhookconfigurations",
        };
        let calling = Calling::new(&dependencies.webhooks, configuration)?;
        let reader = Arc::clone(&dependencies.reader);
        let resource = GroupResource::new("admissionregistration.k8s.io", configurations);
        Ok(Self {
            compiled: Compiled::new(Arc::clone(&reader), resource, move |configuration| {
                of_configuration(configuration, &calling)
            }),
            reader,
            resources: Arc::clone(&dependencies.resources),
            authorizer: Arc::clone(&dependencies.authorizer),
            metrics: dependencies.metrics.clone(),
            phase,
        })
    }

    /// The webhooks that may have something to say; none if there are none at all, or none that may.
    pub(super) fn for_request(
        &self,
        admission: &Admission<'_>,
    ) -> Result<Option<Configurations>, Status> {
        if is_exempt(admission.kind) {
            return Ok(None);
        }
        if !self.compiled.is_ready() {
            return Err(admission.forbidden("not yet ready to handle request"));
        }
        let configurations = self.compiled.get();
        let any = configurations.iter().any(|hooks| !hooks.is_empty());
        Ok(any.then_some(configurations))
    }

    /// Whether a webhook is for the request, and in which version it wants to see it.
    pub(super) async fn matches(
        &self,
        hook: &Hook,
        admission: &Admission<'_>,
    ) -> Result<Option<Invocation>, Status> {
        let matcher = &hook.matcher;
        matcher
            .matches(admission, &self.reader, &*self.resources)
            .await
    }

    /// The object and the old one in a webhook's version.
    pub(super) async fn versioned(
        &self,
        admission: &Admission<'_>,
        invocation: &Invocation,
    ) -> Result<(Option<Object>, Option<Object>), Status> {
        let resources = &*self.resources;
        let new = versioned(resources, admission.new_object(), admission, invocation).await?;
        let old = versioned(resources, admission.old_object, admission, invocation).await?;
        Ok((new, old))
    }

    /// Whether a webhook's conditions are met. What they cannot be told from is refused.
    pub(super) fn conditions_are_met(
        &self,
        hook: &Hook,
        admission: &Admission<'_>,
        invocation: &Invocation,
        object: Option<&Object>,
        old_object: Option<&Object>,
    ) -> Result<bool, Status> {
        if hook.conditions.is_empty() {
            return Ok(true);
        }
        let inputs = Inputs::new(admission, invocation, object, old_object, None);
        let authorizer = RequestAuthorizer::new(Arc::clone(&self.authorizer), admission);
        let activation = inputs.activation(None, Some(&authorizer), &[]);
        let owner = ConditionOwner {
            kind: OwnerKind::Webhook(self.phase),
            name: &hook.name,
            operation: admission.operation,
        };
        let met = hook.conditions.are_met(&activation, &owner, &self.metrics);
        met.map_err(|reason| {
            let resource = admission.request.gvr().group_resource();
            Status::forbidden(&resource, admission.object_name(), reason)
        })
    }

    /// Counts what came of asking a webhook.
    pub(super) fn observe<T>(
        &self,
        hook: &Hook,
        operation: Operation,
        elapsed: Duration,
        result: &Result<T, Refusal>,
    ) {
        let outcome = match result {
            Ok(_) => WebhookOutcome::Allowed,
            Err(Refusal::Denied(status)) => WebhookOutcome::Denied(status.code),
            Err(Refusal::Internal(_)) => WebhookOutcome::Internal,
            Err(Refusal::Failed { code, .. }) => WebhookOutcome::Failed {
                code: *code,
                open: hook.ignores_failure,
            },
        };
        self.metrics
            .webhook(&hook.name, self.phase, operation, elapsed, outcome);
    }
}
