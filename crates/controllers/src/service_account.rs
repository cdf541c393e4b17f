//! The ServiceAccount controller: every namespace has a `default` service account.

use std::sync::Arc;

use async_trait::async_trait;
use client::{Event, Informer, InformerScope, Object as _, ObjectKey};
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "serviceaccount-controller";
const DEFAULT: &str = "default";

struct ServiceAccountController {
    ctx: ControllerContext,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let scope = InformerScope {
        field_selector: Some(format!("metadata.name={DEFAULT}")),
        ..InformerScope::default()
    };
    let controller = Arc::new(ServiceAccountController {
        namespaces: ctx.informers.informer(),
        accounts: ctx.informers.scoped(scope),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("serviceaccount");
    queue_changes(&ctx, NAME, &controller.namespaces, &queue);
    let deleted = queue.clone();
    on_events(&ctx, NAME, &controller.accounts, move |event| {
        if let Event::Deleted(account) = event {
            deleted.add(ObjectKey::new("", account.namespace()));
        }
    });
    run_workers(&ctx, NAME, 1, &queue, controller);
}

/// Whether things may be made in a namespace.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !namespace.is_being_deleted() && phase != Some("Terminating")
}

#[async_trait]
impl Reconciler for ServiceAccountController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.namespaces.has_synced().await;
        self.accounts.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(namespace) = self
            .namespaces
            .store()
            .get_key(key)
            .filter(|namespace| is_active(namespace))
        else {
            return Ok(Next::OnEvent);
        };
        if self
            .accounts
            .store()
            .get(namespace.name(), DEFAULT)
            .is_some()
        {
            return Ok(Next::OnEvent);
        }
        let account = ServiceAccount {
            metadata: ObjectMeta {
                name: Some(DEFAULT.to_owned()),
                namespace: Some(namespace.name().to_owned()),
                ..ObjectMeta::default()
            },
            ..ServiceAccount::default()
        };
        match self
            .ctx
            .client
            .api::<ServiceAccount>(namespace.name())
            .create(&account)
            .await
        {
            Err(error) if !error.is_already_exists() && !error.is_namespace_terminating() => {
                Err(error.into())
            }
            _ => Ok(Next::OnEvent),
        }
    }
}
