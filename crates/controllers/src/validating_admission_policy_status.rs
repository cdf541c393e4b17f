//! The controller of the status of ValidatingAdmissionPolicies: each expression is checked against the types of the objects that the policy
//! names, and what is found stands in `status.typeChecking`. Once for each generation, as upstream's: types that come later do not count.

use std::{collections::BTreeMap, sync::Arc};

use api::kinds::admissionregistration::type_checking::{self, MAX_TYPES};
use apimachinery::{
    Object as Json,
    gvk::{GroupVersion, GroupVersionKind},
};
use async_trait::async_trait;
use client::{Client, Discovery, Informer, Object as _, ObjectKey, Patch};
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use serde_json::{Value, json};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "validatingadmissionpolicy-status-controller";
/// As which its fields are owned.
const FIELD_MANAGER: &str = "validatingadmissionpolicy-status";

struct PolicyStatus {
    ctx: ControllerContext,
    policies: Informer<ValidatingAdmissionPolicy>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(PolicyStatus {
        policies: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("validatingadmissionpolicy-status");
    queue_changes(&ctx, NAME, &controller.policies, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config
            .concurrent_syncs
            .validating_admission_policy_status,
        &queue,
        controller,
    );
}

/// The OpenAPI documents that one policy needs, each asked for once.
struct Documents<'a> {
    client: &'a Client,
    known: BTreeMap<String, Option<Value>>,
}

impl Documents<'_> {
    /// The document of a version of a group; none if the server has none.
    async fn get(&mut self, version: &GroupVersion) -> Result<Option<&Value>, Error> {
        let path = if version.group.is_empty() {
            format!("/openapi/v3/api/{}", version.version)
        } else {
            format!("/openapi/v3/apis/{version}")
        };
        if !self.known.contains_key(&path) {
            let document = match self.client.get_raw(&path).await {
                Ok(body) => serde_json::from_slice(&body).ok(),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.into()),
            };
            self.known.insert(path.clone(), document);
        }
        Ok(self.known.get(&path).and_then(Option::as_ref))
    }
}

/// The kinds of the resources that a policy names, in order.
fn kinds(policy: &Json, discovery: &Discovery) -> Vec<GroupVersionKind> {
    let mut kinds: Vec<GroupVersionKind> = type_checking::resources(policy)
        .iter()
        .filter_map(|named| {
            discovery
                .resources
                .iter()
                .find(|served| served.gvr == *named)
        })
        .map(|served| served.gvk.clone())
        .take(MAX_TYPES)
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

impl PolicyStatus {
    async fn warnings(&self, policy: &Json) -> Result<Vec<Value>, Error> {
        let client = &self.ctx.client;
        let mut documents = Documents {
            client,
            known: BTreeMap::new(),
        };
        let mut declared = Vec::new();
        for kind in kinds(policy, &client.discover().await?) {
            let document = documents.get(&kind.group_version()).await?;
            let declaration =
                document.and_then(|document| type_checking::declaration(document, &kind));
            declared.extend(declaration.map(|declaration| (kind, declaration)));
        }
        let params = match type_checking::param_kind(policy) {
            Some(kind) => documents
                .get(&kind.group_version())
                .await?
                .and_then(|document| type_checking::declaration(document, &kind)),
            None => None,
        };
        Ok(type_checking::warnings(policy, &declared, params.as_ref()))
    }
}

#[async_trait]
impl Reconciler for PolicyStatus {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.policies.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(policy) = self.policies.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let generation = policy.metadata.generation.unwrap_or_default();
        let observed = policy.status.as_ref();
        let observed = observed.and_then(|status| status.observed_generation);
        if generation <= observed.unwrap_or_default() {
            return Ok(Next::OnEvent);
        }
        let Ok(Value::Object(json)) = serde_json::to_value(&*policy) else {
            return Ok(Next::OnEvent);
        };
        let warnings = self.warnings(&json).await?;
        let mut type_checking = json!({});
        if !warnings.is_empty() {
            type_checking["expressionWarnings"] = warnings.into();
        }
        let status = Patch::Apply {
            object: json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicy",
                "metadata": {"name": policy.name()},
                "status": {"observedGeneration": generation, "typeChecking": type_checking},
            }),
            field_manager: FIELD_MANAGER.to_owned(),
            force: true,
        };
        let policies = self.ctx.client.api::<ValidatingAdmissionPolicy>("");
        policies.patch_status(policy.name(), &status).await?;
        Ok(Next::OnEvent)
    }
}
