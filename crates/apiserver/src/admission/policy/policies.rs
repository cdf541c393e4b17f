//! All policies of one sort with their bindings, and which of them a request meets, in which version and with which parameters. What both
//! sorts share.

use std::sync::Arc;

use apimachinery::{Object, gvk::GroupResource, status::Status};
use serde_json::Value as Json;

use super::{
    super::{
        Admission, AdmissionMetrics, Dependencies, Resources,
        compiled::Compiled,
        matching::{Invocation, namespace},
    },
    RequestAuthorizer,
    binding::Binding,
    definition::{Body, Policy},
    is_exempt, namespace_name,
    pairs::Pairs,
    params,
};
use crate::{authz::Authorizer, reader::ObjectReader};

const GROUP: &str = "admissionregistration.k8s.io";

pub(super) struct Policies<B> {
    pairs: Pairs<B>,
    reader: Arc<dyn ObjectReader>,
    pub(super) resources: Arc<dyn Resources>,
    authorizer: Arc<dyn Authorizer>,
    pub(super) metrics: AdmissionMetrics,
}

/// A policy under a binding, to be evaluated with each of the parameters.
pub(super) struct Planned<B> {
    pub(super) policy: Arc<Policy<B>>,
    pub(super) binding: Arc<Binding>,
    pub(super) invocation: Invocation,
    /// One that is none for a policy without parameters.
    pub(super) params: Vec<Option<Json>>,
}

/// A policy, or one of its bindings, that cannot be used.
pub(super) struct Misconfigured<B> {
    pub(super) policy: Arc<Policy<B>>,
    pub(super) binding: Option<Arc<Binding>>,
    pub(super) error: String,
}

/// In order of policies and bindings.
pub(super) type Plan<B> = Vec<Result<Planned<B>, Misconfigured<B>>>;

impl<B: Body> Policies<B> {
    /// Those of the resource `policies`, with those of `bindings`.
    pub(super) fn new(
        dependencies: &Dependencies,
        policies: &'static str,
        bindings: &'static str,
    ) -> Self {
        let reader = &dependencies.reader;
        let policies = GroupResource::new(GROUP, policies);
        let bindings = GroupResource::new(GROUP, bindings);
        Self {
            pairs: Pairs::new(
                Compiled::new(Arc::clone(reader), policies, Policy::of),
                Compiled::new(Arc::clone(reader), bindings, Binding::of),
            ),
            reader: Arc::clone(reader),
            resources: Arc::clone(&dependencies.resources),
            authorizer: Arc::clone(&dependencies.authorizer),
            metrics: dependencies.metrics.clone(),
        }
    }

    /// What a request meets; decided before any of it is evaluated.
    pub(super) async fn plan(&self, admission: &Admission<'_>) -> Result<Plan<B>, Status> {
        let mut plan = Vec::new();
        if is_exempt(admission) {
            return Ok(plan);
        }
        if !self.pairs.is_ready() {
            return Err(admission.forbidden("not yet ready to handle request"));
        }
        for (policy, bindings) in self.pairs.get().iter() {
            let invocation = match self.matched(policy, admission).await {
                Ok(Some(invocation)) => invocation,
                Ok(None) => continue,
                Err(error) => {
                    plan.push(Err(Misconfigured {
                        policy: Arc::clone(policy),
                        binding: None,
                        error: format!("failed to configure policy: {error}"),
                    }));
                    continue;
                }
            };
            for binding in bindings {
                let found = self.params(policy, binding, admission).await;
                let planned = match found.transpose() {
                    None => continue,
                    Some(Ok(params)) => Ok(Planned {
                        policy: Arc::clone(policy),
                        binding: Arc::clone(binding),
                        invocation: invocation.clone(),
                        params,
                    }),
                    Some(Err(error)) => Err(Misconfigured {
                        policy: Arc::clone(policy),
                        binding: Some(Arc::clone(binding)),
                        error: format!("failed to configure binding: {error}"),
                    }),
                };
                plan.push(planned);
            }
        }
        Ok(plan)
    }

    /// In which version a request is for the policy, if it is.
    async fn matched(
        &self,
        policy: &Policy<B>,
        admission: &Admission<'_>,
    ) -> Result<Option<Invocation>, String> {
        let resources = &*self.resources;
        let Some(matcher) = &policy.matcher else {
            return Err("policy contained no match constraints, a required field".to_owned());
        };
        let matched = matcher.matches(admission, &self.reader, resources).await;
        let matched = matched.map_err(|status| status.message)?;
        if matched.is_some() {
            params::check_kind(policy.param_kind.as_ref(), resources)?;
        }
        Ok(matched)
    }

    /// The parameters under a binding; none if the binding is not for the request.
    async fn params(
        &self,
        policy: &Policy<B>,
        binding: &Binding,
        admission: &Admission<'_>,
    ) -> Result<Option<Vec<Option<Json>>>, String> {
        let resources = &*self.resources;
        if let Some(matcher) = &binding.matcher {
            let matched = matcher.matches(admission, &self.reader, resources).await;
            if matched.map_err(|status| status.message)?.is_none() {
                return Ok(None);
            }
        }
        let (kind, reference) = (policy.param_kind.as_ref(), binding.params.as_ref());
        let found = params::collect(kind, reference, admission.namespace(), resources).await;
        found.map(Some)
    }

    /// The namespace that expressions see.
    pub(super) async fn namespace(
        &self,
        admission: &Admission<'_>,
    ) -> Result<Option<Arc<Object>>, Status> {
        match namespace_name(admission) {
            "" => Ok(None),
            name => namespace(&self.reader, name).await.map(Some),
        }
    }

    /// What answers `authorizer` in expressions.
    pub(super) fn authorizer(&self, admission: &Admission<'_>) -> RequestAuthorizer {
        RequestAuthorizer::new(Arc::clone(&self.authorizer), admission)
    }
}
