//! The PersistentVolume protection controller: a volume that is to go stays while it is bound.

use std::sync::Arc;

use async_trait::async_trait;
use client::{ApiError, Informer, Object as _, ObjectKey, Workqueue};
use k8s_openapi::api::core::v1::PersistentVolume;

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

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
    let queue = Workqueue::default();
    queue_changes(&ctx, NAME, &controller.volumes, &queue);
    run_workers(&ctx, NAME, 1, &queue, controller);
}

/// The finalizers as they should be, if they are not.
fn plan(volume: &PersistentVolume) -> Option<Vec<String>> {
    let mut finalizers = volume.metadata.finalizers.clone().unwrap_or_default();
    let protected = finalizers.iter().any(|known| known == FINALIZER);
    let status = volume.status.as_ref();
    let bound = status.and_then(|status| status.phase.as_deref()) == Some("Bound");
    match (volume.is_being_deleted(), protected) {
        (true, true) if !bound => finalizers.retain(|known| known != FINALIZER),
        // Older than the admission plugin.
        (false, false) => finalizers.push(FINALIZER.to_owned()),
        _ => return None,
    }
    Some(finalizers)
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
        if let Some(finalizers) = plan(&volume) {
            let mut changed = (*volume).clone();
            changed.metadata.finalizers = Some(finalizers);
            let api = self.ctx.client.api::<PersistentVolume>("");
            ApiError::not_found_is_none(api.update(&changed).await)?;
        }
        Ok(Next::OnEvent)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bound_volume_stays() {
        let volume = |finalizers: &[&str], deleted: bool, phase: &str| -> PersistentVolume {
            let mut volume = json!({"metadata": {"name": "v", "finalizers": finalizers}, "status": {"phase": phase}});
            if deleted {
                volume["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            }
            serde_json::from_value(volume).unwrap()
        };
        assert_eq!(plan(&volume(&[FINALIZER], false, "Bound")), None);
        assert_eq!(plan(&volume(&[FINALIZER], true, "Bound")), None);
        assert_eq!(
            plan(&volume(&[FINALIZER, "x"], true, "Released")),
            Some(vec!["x".to_owned()])
        );
        assert_eq!(
            plan(&volume(&[], false, "Available")),
            Some(vec![FINALIZER.to_owned()])
        );
    }
}
