//! The EndpointSlice controller: for each Service with a selector, slices of the addresses of its pods.

mod plan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{Event, EventType, Informer, Object as _, ObjectKey, Workqueue};
use k8s_openapi::api::core::v1::{Node, Pod, Service};

use crate::{
    context::ControllerContext,
    managed_slices::ManagedSlices,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
    service_pods::{queue_services_of_pods, selected},
    trigger_time::{TriggerTimeTracker, stamp},
};

use self::plan::{MANAGER, plan};

pub(crate) const NAME: &str = "endpointslice-controller";
const ZONE: &str = "topology.kubernetes.io/zone";
/// How soon to look again when the informer is behind our own writes; its event comes sooner as a rule.
const BEHIND: Duration = Duration::from_secs(1);

struct EndpointSliceController {
    ctx: ControllerContext,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Arc<ManagedSlices>,
    trigger_times: TriggerTimeTracker,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(EndpointSliceController {
        services: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        nodes: ctx.informers.informer(),
        slices: ManagedSlices::new(&ctx, MANAGER),
        trigger_times: TriggerTimeTracker::default(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("endpoint_slice");
    queue_changes(&ctx, NAME, &controller.services, &queue);
    queue_services_of_pods(&ctx, NAME, &controller.pods, &controller.services, &queue);
    controller.slices.watch(&ctx, NAME, &queue);
    watch_nodes(&ctx, &controller, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.service_endpoint,
        &queue,
        controller,
    );
}

/// A node's zone is in its pods' endpoints.
fn watch_nodes(
    ctx: &ControllerContext,
    controller: &Arc<EndpointSliceController>,
    queue: &Workqueue<ObjectKey>,
) {
    let (services, queue) = (controller.services.store().clone(), queue.clone());
    on_events(ctx, NAME, &controller.nodes, move |event| {
        let zone_changed = match &event {
            Event::Updated { old, new } => old.label(ZONE) != new.label(ZONE),
            Event::Added(node) | Event::Deleted(node) => node.label(ZONE).is_some(),
            Event::Resync => true,
        };
        if zone_changed {
            services.keys().into_iter().for_each(|key| queue.add(key));
        }
    });
}

#[async_trait]
impl Reconciler for EndpointSliceController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.services.has_synced().await;
        self.pods.has_synced().await;
        self.nodes.has_synced().await;
        self.slices.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(service) = self.services.store().get_key(key) else {
            // Its slices go with it, by the garbage collector.
            self.slices.forget_all(key);
            self.trigger_times.forget(key);
            return Ok(Next::OnEvent);
        };
        let external =
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
        let Some(pods) = selected(&service, self.pods.store()).filter(|_| !external) else {
            return Ok(Next::OnEvent);
        };
        let mut existing = self.slices.of(key);
        if self.slices.is_behind(key, &existing) {
            return Ok(Next::After(BEHIND));
        }
        existing.retain(|slice| !slice.is_being_deleted());
        let zone_of = |node: &str| Some(self.nodes.store().get("", node)?.label(ZONE)?.to_owned());
        let triggered = self.trigger_times.last_change(&service, &pods);
        let mut plan = plan(&service, &pods, &zone_of, &existing);
        for slice in plan.create.iter_mut().chain(&mut plan.update) {
            stamp(&mut slice.metadata, triggered);
        }
        let result = self.slices.write(key, plan).await;
        if let Err(error) = &result {
            let message = format!("Error updating Endpoint Slices for Service {key}: {error}");
            self.ctx.recorder.event(
                &*service,
                EventType::Warning,
                "FailedToUpdateEndpointSlices",
                message,
            );
        }
        result.map(|()| Next::OnEvent)
    }
}
