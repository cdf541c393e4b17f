//! The PersistentVolume protection controller: a volume that is to go stays while it is bound.

use std::sync::Arc;

use async_trait::async_trait;
use client::{ApiError, Informer, ObjectKey};
use k8s_openapi::api::core::v1::PersistentVolume;

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

use super::protection;

pub(crate) const NAME: &str = "persistentvolume-protection-controller";
const FINALIZER: &str = "kubernetes.io/pv-protection";

struct PvProtection {
    ctx: ControllerContext,
    volumes: Informer<PersistentVolume>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(PvProtection {
        volumes: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("pvprotection");
    queue_changes(&ctx, NAME, &controller.volumes, &queue);
    run_workers(&ctx, NAME, 1, &queue, controller);
}

#[async_trait]
impl Reconciler for PvProtection {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.volumes.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(volume) = self.volumes.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let status = volume.status.as_ref();
        let bound = || status.and_then(|status| status.phase.as_deref()) == Some("Bound");
        if let Some(finalizers) = protection::finalizers(&*volume, FINALIZER, bound) {
            let mut changed = (*volume).clone();
            changed.metadata.finalizers = Some(finalizers);
            let api = self.ctx.client.api::<PersistentVolume>("");
            ApiError::not_found_is_none(api.update(&changed).await)?;
        }
        Ok(Next::OnEvent)
    }
}
