//! The EndpointSlice mirroring controller: Endpoints that somebody writes himself, for a Service without a selector, become EndpointSlices.

mod plan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{Event, EventType, Informer, Object as _, ObjectKey, RateLimits, Workqueue};
use k8s_openapi::api::core::v1::{Endpoints, Service};

use crate::{
    context::ControllerContext,
    managed_slices::{ManagedSlices, SliceChanges},
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

use self::plan::{MANAGER, plan};

pub(crate) const NAME: &str = "endpointslice-mirroring-controller";
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
    slices: Arc<ManagedSlices>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(EndpointSliceMirroring {
        endpoints: ctx.informers.informer(),
        services: ctx.informers.informer(),
        slices: ManagedSlices::new(&ctx, MANAGER),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue_with(
        "endpoint_slice_mirroring",
        RateLimits {
            base: LIMITS.0,
            max: LIMITS.1,
            ..RateLimits::default()
        },
    );
    watch_endpoints(&ctx, &controller, &queue);
    watch_services(&ctx, &controller, &queue);
    controller.slices.watch(&ctx, NAME, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.mirroring,
        &queue,
        controller,
    );
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

#[async_trait]
impl Reconciler for EndpointSliceMirroring {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.endpoints.has_synced().await;
        self.services.has_synced().await;
        self.slices.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let existing = self.slices.of(key);
        let service = self.services.store().get_key(key);
        let wanted = service.is_some_and(|service| !has_selector(&service));
        let endpoints = self.endpoints.store().get_key(key);
        let Some(endpoints) = endpoints.filter(|endpoints| wanted && should_mirror(endpoints))
        else {
            self.slices.forget_all(key);
            let gone = SliceChanges {
                delete: existing,
                ..SliceChanges::default()
            };
            self.slices.write(key, gone).await?;
            return Ok(Next::OnEvent);
        };
        if self.slices.is_behind(key, &existing) {
            return Ok(Next::After(BEHIND));
        }
        let mut plan = plan(&endpoints, &existing);
        if endpoints.is_being_deleted() {
            plan.slices.create.clear();
        }
        for (reason, message) in std::mem::take(&mut plan.warnings) {
            let recorder = &self.ctx.recorder;
            recorder.event(&*endpoints, EventType::Warning, reason, message);
        }
        self.slices.write(key, plan.slices).await?;
        Ok(Next::OnEvent)
    }
}
