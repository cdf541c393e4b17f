//! The EndpointSlice controller: for each Service with a selector, slices of the addresses of its pods.

mod plan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{
    ApiError, DeleteOptionsExt as _, Event, EventType, Informer, Object as _, ObjectKey, Workqueue,
};
use k8s_openapi::{
    api::{
        core::v1::{Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
    service_pods::{queue_services_of_pods, selected},
    slice_tracker::SliceTracker,
};

use self::plan::{MANAGED_BY, MANAGER, Plan, SERVICE_NAME, plan};

pub(crate) const NAME: &str = "endpointslice-controller";
const SERVICE_INDEX: &str = "service";
const ZONE: &str = "topology.kubernetes.io/zone";
/// How soon to look again when the informer is behind our own writes; its event comes sooner as a rule.
const BEHIND: Duration = Duration::from_secs(1);

struct EndpointSliceController {
    ctx: ControllerContext,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    written: SliceTracker,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(EndpointSliceController {
        services: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        nodes: ctx.informers.informer(),
        slices: ctx.informers.informer(),
        written: SliceTracker::default(),
        ctx: ctx.clone(),
    });
    controller.slices.add_index(SERVICE_INDEX, by_service);
    let queue = Workqueue::default();
    queue_changes(&ctx, NAME, &controller.services, &queue);
    queue_services_of_pods(&ctx, NAME, &controller.pods, &controller.services, &queue);
    watch_slices(&ctx, &controller, &queue);
    watch_nodes(&ctx, &controller, &queue);
    run_workers(&ctx, NAME, ctx.config.concurrent_syncs, &queue, controller);
}

/// Slices of this controller by their Service.
fn by_service(slice: &EndpointSlice) -> Vec<String> {
    service_of(slice)
        .map(|key| key.to_string())
        .into_iter()
        .collect()
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let ours = slice.label(MANAGED_BY) == Some(MANAGER);
    let name = slice.label(SERVICE_NAME).filter(|_| ours)?;
    Some(ObjectKey::new(slice.namespace(), name))
}

fn watch_slices(
    ctx: &ControllerContext,
    controller: &Arc<EndpointSliceController>,
    queue: &Workqueue<ObjectKey>,
) {
    let (this, queue) = (controller.clone(), queue.clone());
    on_events(ctx, NAME, &controller.slices, move |event| match event {
        Event::Resync => this
            .services
            .store()
            .keys()
            .into_iter()
            .for_each(|key| queue.add(key)),
        Event::Added(slice) => service_of(&slice)
            .into_iter()
            .for_each(|key| queue.add(key)),
        Event::Updated { old, new } => {
            // Somebody may have taken the labels away.
            service_of(&old)
                .into_iter()
                .chain(service_of(&new))
                .for_each(|key| queue.add(key));
        }
        Event::Deleted(slice) => {
            if let Some(key) = service_of(&slice) {
                this.written.forget(&key, slice.name());
                queue.add(key);
            }
        }
    });
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
            self.written.forget_all(key);
            return Ok(Next::OnEvent);
        };
        let external =
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
        let Some(pods) = selected(&service, self.pods.store()).filter(|_| !external) else {
            return Ok(Next::OnEvent);
        };
        let mut existing = self
            .slices
            .store()
            .by_index(SERVICE_INDEX, &key.to_string());
        if self.written.is_behind(key, &existing) {
            return Ok(Next::After(BEHIND));
        }
        existing.retain(|slice| !slice.is_being_deleted());
        let zone_of = |node: &str| Some(self.nodes.store().get("", node)?.label(ZONE)?.to_owned());
        let plan = plan(&service, &pods, &zone_of, &existing);
        let result = self.carry_out(key, plan).await;
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

impl EndpointSliceController {
    /// Creations first, so that at no time an endpoint is in no slice.
    async fn carry_out(&self, key: &ObjectKey, plan: Plan) -> Result<(), Error> {
        let api = self.ctx.client.api::<EndpointSlice>(&key.namespace);
        for slice in &plan.create {
            match api.create(slice).await {
                Ok(created) => self.written.remember(key, &created),
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        for slice in &plan.update {
            let updated = api.update(slice).await?;
            self.written.remember(key, &updated);
        }
        for slice in &plan.delete {
            let options = DeleteOptions::default().with_uid(slice.uid());
            ApiError::not_found_is_none(api.delete(slice.name(), &options).await)?;
            self.written.forget(key, slice.name());
        }
        Ok(())
    }
}
