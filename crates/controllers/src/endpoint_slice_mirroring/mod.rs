//! The EndpointSlice mirroring controller: Endpoints that somebody writes himself, for a Service without a selector, become EndpointSlices.

mod plan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{ApiError, Event, EventType, Informer, Object as _, ObjectKey, RateLimits, Workqueue};
use k8s_openapi::api::{
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
    slice_tracker::SliceTracker,
};

use self::plan::{MANAGED_BY, MANAGER, Plan, SERVICE_NAME, plan};

pub(crate) const NAME: &str = "endpointslice-mirroring-controller";
const SERVICE_INDEX: &str = "mirrored-service";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints of old that are no endpoints but a lock.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// How soon to look again when the informer is behind our own writes; its event comes sooner as a rule.
const BEHIND: Duration = Duration::from_secs(1);
/// A failure may mean many slices to write: slower than elsewhere.
const LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(100));

struct EndpointSliceMirroring {
    ctx: ControllerContext,
    endpoints: Informer<Endpoints>,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    written: SliceTracker,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(EndpointSliceMirroring {
        endpoints: ctx.informers.informer(),
        services: ctx.informers.informer(),
        slices: ctx.informers.informer(),
        written: SliceTracker::default(),
        ctx: ctx.clone(),
    });
    controller.slices.add_index(SERVICE_INDEX, by_service);
    let queue = Workqueue::new(RateLimits {
        base: LIMITS.0,
        max: LIMITS.1,
        ..RateLimits::default()
    });
    watch_endpoints(&ctx, &controller, &queue);
    watch_services(&ctx, &controller, &queue);
    watch_slices(&ctx, &controller, &queue);
    run_workers(&ctx, NAME, ctx.config.concurrent_syncs, &queue, controller);
}

/// Slices of this controller by their Service.
fn by_service(slice: &EndpointSlice) -> Vec<String> {
    let key = service_of(slice).map(|key| key.to_string());
    key.into_iter().collect()
}

fn service_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let ours = slice.label(MANAGED_BY) == Some(MANAGER);
    let name = slice.label(SERVICE_NAME).filter(|_| ours)?;
    Some(ObjectKey::new(slice.namespace(), name))
}

fn should_mirror(endpoints: &Endpoints) -> bool {
    endpoints.label(SKIP) != Some("true") && endpoints.annotation(LEADER).is_none()
}

fn has_selector(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.and_then(|spec| spec.selector.as_ref())
        .is_some_and(|selector| !selector.is_empty())
}

fn watch_endpoints(
    ctx: &ControllerContext,
    controller: &Arc<EndpointSliceMirroring>,
    queue: &Workqueue<ObjectKey>,
) {
    let (store, queue) = (controller.endpoints.store().clone(), queue.clone());
    on_events(ctx, NAME, &controller.endpoints, move |event| match event {
        Event::Resync => store.keys().into_iter().for_each(|key| queue.add(key)),
        Event::Updated { old, new } if should_mirror(&old) || should_mirror(&new) => {
            queue.add(new.key());
        }
        Event::Updated { .. } => {}
        Event::Added(endpoints) | Event::Deleted(endpoints) => {
            if should_mirror(&endpoints) {
                queue.add(endpoints.key());
            }
        }
    });
}

fn watch_services(
    ctx: &ControllerContext,
    controller: &Arc<EndpointSliceMirroring>,
    queue: &Workqueue<ObjectKey>,
) {
    let queue = queue.clone();
    on_events(ctx, NAME, &controller.services, move |event| match event {
        // The endpoints' own resync queues all.
        Event::Resync => {}
        Event::Updated { old, new } => {
            if has_selector(&old) != has_selector(&new) {
                queue.add(new.key());
            }
        }
        Event::Added(service) | Event::Deleted(service) => {
            if !has_selector(&service) {
                queue.add(service.key());
            }
        }
    });
}

fn watch_slices(
    ctx: &ControllerContext,
    controller: &Arc<EndpointSliceMirroring>,
    queue: &Workqueue<ObjectKey>,
) {
    let (this, queue) = (controller.clone(), queue.clone());
    on_events(ctx, NAME, &controller.slices, move |event| match event {
        // Slices whose Endpoints are gone must go, too.
        Event::Resync => this
            .slices
            .store()
            .list()
            .iter()
            .filter_map(|slice| service_of(slice))
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

#[async_trait]
impl Reconciler for EndpointSliceMirroring {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.endpoints.has_synced().await;
        self.services.has_synced().await;
        self.slices.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let existing = self
            .slices
            .store()
            .by_index(SERVICE_INDEX, &key.to_string());
        let service = self.services.store().get_key(key);
        let wanted = service.is_some_and(|service| !has_selector(&service));
        let endpoints = self.endpoints.store().get_key(key);
        let Some(endpoints) = endpoints.filter(|endpoints| wanted && should_mirror(endpoints))
        else {
            self.written.forget_all(key);
            let plan = Plan {
                delete: existing,
                ..Plan::default()
            };
            return self.carry_out(key, plan).await;
        };
        if self.written.is_behind(key, &existing) {
            return Ok(Next::After(BEHIND));
        }
        let mut plan = plan(&endpoints, &existing);
        if endpoints.is_being_deleted() {
            plan.create.clear();
        }
        for (reason, message) in std::mem::take(&mut plan.warnings) {
            let recorder = &self.ctx.recorder;
            recorder.event(&*endpoints, EventType::Warning, reason, message);
        }
        self.carry_out(key, plan).await
    }
}

impl EndpointSliceMirroring {
    async fn carry_out(&self, key: &ObjectKey, plan: Plan) -> Result<Next, Error> {
        let api = self.ctx.client.api::<EndpointSlice>(&key.namespace);
        for slice in &plan.create {
            match api.create(slice).await {
                Ok(created) => self.written.remember(key, &created),
                Err(error) if error.is_namespace_terminating() => return Ok(Next::OnEvent),
                Err(error) => return Err(error.into()),
            }
        }
        for slice in &plan.update {
            let updated = api.update(slice).await?;
            self.written.remember(key, &updated);
        }
        for slice in &plan.delete {
            let deleted = api.delete(slice.name(), &Default::default()).await;
            ApiError::not_found_is_none(deleted)?;
            self.written.forget(key, slice.name());
        }
        Ok(Next::OnEvent)
    }
}
