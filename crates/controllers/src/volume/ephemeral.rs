//! The ephemeral volume controller: a pod's ephemeral volumes get claims of their own, which go with the pod.

use std::sync::Arc;

use async_trait::async_trait;
use client::{Event, EventType, Informer, Kind as _, Object as _, ObjectKey, Workqueue};
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod, Volume},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

use super::pod_claims::{self, CLAIM_INDEX, by_claim, ephemeral_claim_name, is_for_pod};

pub(crate) const NAME: &str = "ephemeral-volume-controller";

struct EphemeralVolumes {
    ctx: ControllerContext,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(EphemeralVolumes {
        pods: ctx.informers.informer(),
        claims: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    controller.pods.add_index(CLAIM_INDEX, by_claim);
    let queue: Workqueue<ObjectKey> = ctx.queue("ephemeral_volume");
    let has_any = |pod: &Pod| pod_claims::volumes(pod).any(|volume| volume.ephemeral.is_some());
    let (store, changed) = (controller.pods.store().clone(), queue.clone());
    on_events(&ctx, NAME, &controller.pods, move |event| match event {
        Event::Resync => store
            .list()
            .iter()
            .filter(|pod| has_any(pod))
            .for_each(|pod| changed.add(pod.key())),
        Event::Added(pod) if has_any(&pod) => changed.add(pod.key()),
        // Volumes do not change.
        _ => {}
    });
    let (pods, gone) = (controller.pods.store().clone(), queue.clone());
    on_events(&ctx, NAME, &controller.claims, move |event| {
        // One that was deleted is made again, as long as the pod is there.
        if let Event::Deleted(claim) = event {
            for pod in pods.by_index(CLAIM_INDEX, &claim.key().to_string()) {
                gone.add(pod.key());
            }
        }
    });
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.ephemeral_volume,
        &queue,
        controller,
    );
}

#[async_trait]
impl Reconciler for EphemeralVolumes {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.pods.has_synced().await;
        self.claims.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let pod = self.pods.store().get_key(key);
        let Some(pod) = pod.filter(|pod| !pod.is_being_deleted()) else {
            return Ok(Next::OnEvent);
        };
        for volume in pod_claims::volumes(&pod) {
            if let Err(error) = self.ensure(&pod, volume).await {
                let message = format!("ephemeral volume {}: {error}", volume.name);
                let recorder = &self.ctx.recorder;
                recorder.event(&*pod, EventType::Warning, "FailedBinding", message);
                return Err(error);
            }
        }
        Ok(Next::OnEvent)
    }
}

impl EphemeralVolumes {
    async fn ensure(&self, pod: &Pod, volume: &Volume) -> Result<(), Error> {
        let source = volume.ephemeral.as_ref();
        let Some(template) = source.and_then(|source| source.volume_claim_template.as_ref()) else {
            return Ok(());
        };
        let (namespace, name) = (pod.namespace(), ephemeral_claim_name(pod, volume));
        if let Some(known) = self.claims.store().get(namespace, &name) {
            if is_for_pod(pod, &known) {
                return Ok(());
            }
            return Err(Error::State(format!(
                "PVC {namespace}/{name} was not created for pod {} (pod is not owner)",
                pod.key()
            )));
        }
        let metadata = template.metadata.clone().unwrap_or_default();
        let claim = PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace.to_owned()),
                labels: metadata.labels,
                annotations: metadata.annotations,
                owner_references: Some(vec![pod.controller_owner_reference()]),
                ..ObjectMeta::default()
            },
            spec: Some(template.spec.clone()),
            status: None,
        };
        let api = self.ctx.client.api::<PersistentVolumeClaim>(namespace);
        match api.create(&claim).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_namespace_terminating() => Ok(()),
            Err(error) => Err(Error::State(format!("create PVC {name}: {error}"))),
        }
    }
}
