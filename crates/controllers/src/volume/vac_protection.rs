//! The VolumeAttributesClass protection controller: a class that is to go stays while a claim or a volume has it, or is to get it.

use std::sync::Arc;

use async_trait::async_trait;
use client::{ApiError, Informer, Object as _, ObjectKey};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::VolumeAttributesClass,
};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

use super::protection;

pub(crate) const NAME: &str = "volumeattributesclass-protection-controller";
const FINALIZER: &str = "kubernetes.io/vac-protection";

struct VacProtection {
    ctx: ControllerContext,
    classes: Informer<VolumeAttributesClass>,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(VacProtection {
        classes: ctx.informers.informer(),
        claims: ctx.informers.informer(),
        volumes: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("vacprotection");
    queue_changes(&ctx, NAME, &controller.classes, &queue);
    // What a claim or a volume lets go of may be a class that waits for that; few do.
    let (classes, changed) = (controller.classes.store().clone(), queue.clone());
    let look_again = move || {
        for class in classes
            .list()
            .iter()
            .filter(|class| class.is_being_deleted())
        {
            changed.add(class.key());
        }
    };
    let again = look_again.clone();
    on_events(&ctx, NAME, &controller.claims, move |_| look_again());
    on_events(&ctx, NAME, &controller.volumes, move |_| again());
    run_workers(&ctx, NAME, 1, &queue, controller);
}

fn claim_uses(claim: &PersistentVolumeClaim, class: &str) -> bool {
    let spec = claim.spec.as_ref();
    let status = claim.status.as_ref();
    let modified = status.and_then(|status| status.modify_volume_status.as_ref());
    [
        spec.and_then(|spec| spec.volume_attributes_class_name.as_deref()),
        status.and_then(|status| status.current_volume_attributes_class_name.as_deref()),
        modified.and_then(|modified| modified.target_volume_attributes_class_name.as_deref()),
    ]
    .contains(&Some(class))
}

fn volume_uses(volume: &PersistentVolume, class: &str) -> bool {
    let spec = volume.spec.as_ref();
    spec.and_then(|spec| spec.volume_attributes_class_name.as_deref()) == Some(class)
}

#[async_trait]
impl Reconciler for VacProtection {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.classes.has_synced().await;
        self.claims.has_synced().await;
        self.volumes.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(class) = self.classes.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let used = || {
            let mut claims = self.claims.store().list().into_iter();
            let mut volumes = self.volumes.store().list().into_iter();
            claims.any(|claim| claim_uses(&claim, class.name()))
                || volumes.any(|volume| volume_uses(&volume, class.name()))
        };
        if let Some(finalizers) = protection::finalizers(&*class, FINALIZER, used) {
            let mut changed = (*class).clone();
            changed.metadata.finalizers = Some(finalizers);
            let api = self.ctx.client.api::<VolumeAttributesClass>("");
            ApiError::not_found_is_none(api.update(&changed).await)?;
        }
        Ok(Next::OnEvent)
    }
}
