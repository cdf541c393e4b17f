//! The Endpoints controller: the older form of what EndpointSlices tell, one object a Service.

mod plan;
mod superseded;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{ApiError, Event, EventType, Informer, InformerScope, Object as _, ObjectKey};
use k8s_openapi::{
    api::core::v1::{Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta},
};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
    service_pods::{is_headless, queue_services_of_pods, selected},
    trigger_time::{TriggerTimeTracker, stamp},
};

use self::{plan::subsets, superseded::Superseded};

pub(crate) const NAME: &str = "endpoints-controller";
const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// How soon to look again when the informer is behind our own writes: it will be there by then.
const BEHIND: Duration = Duration::from_millis(20);

struct EndpointsController {
    ctx: ControllerContext,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    superseded: Superseded,
    trigger_times: TriggerTimeTracker,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(EndpointsController {
        services: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        endpoints: ctx.informers.scoped(InformerScope::default()),
        superseded: Superseded::default(),
        trigger_times: TriggerTimeTracker::default(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("endpoint");
    queue_changes(&ctx, NAME, &controller.services, &queue);
    queue_services_of_pods(&ctx, NAME, &controller.pods, &controller.services, &queue);
    // Only a deletion is of interest: what we write comes back as an update.
    let (this, deleted) = (controller.clone(), queue.clone());
    on_events(&ctx, NAME, &controller.endpoints, move |event| {
        if let Event::Deleted(endpoints) = event {
            this.superseded.forget(&endpoints.key());
            deleted.add(endpoints.key());
        }
    });
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.endpoint,
        &queue,
        controller,
    );
}

#[async_trait]
impl Reconciler for EndpointsController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.services.has_synced().await;
        self.pods.has_synced().await;
        self.endpoints.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let api = self.ctx.client.api::<Endpoints>(&key.namespace);
        let Some(service) = self.services.store().get_key(key) else {
            self.superseded.forget(key);
            self.trigger_times.forget(key);
            // It goes with its Service, unless somebody made it by hand.
            let ours =
                |endpoints: &Arc<Endpoints>| endpoints.label(MANAGED_BY.0) == Some(MANAGED_BY.1);
            if self
                .endpoints
                .store()
                .get_key(key)
                .is_some_and(|endpoints| ours(&endpoints))
            {
                ApiError::not_found_is_none(
                    api.delete(&key.name, &DeleteOptions::default()).await,
                )?;
            }
            return Ok(Next::OnEvent);
        };
        let external =
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
        let Some(pods) = selected(&service, self.pods.store()).filter(|_| !external) else {
            return Ok(Next::OnEvent);
        };
        let existing = self.endpoints.store().get_key(key);
        let version = existing
            .as_ref()
            .and_then(|endpoints| endpoints.metadata.resource_version.clone());
        let now = self.ctx.clock.now();
        if self.superseded.is_shown(key, version.as_deref(), now) {
            return Ok(Next::After(BEHIND));
        }
        let triggered = self.trigger_times.last_change(&service, &pods);
        let mut desired = desired(&service, &pods, existing.as_deref());
        if existing.as_deref() == Some(&desired) {
            return Ok(Next::OnEvent);
        }
        stamp(&mut desired.metadata, triggered);
        let result = match &existing {
            Some(_) => api.update(&desired).await,
            None => api.create(&desired).await,
        };
        match result {
            Ok(written) => {
                // A write that changed nothing keeps its version, and replaces nothing.
                if written.metadata.resource_version != version {
                    self.superseded.replaced(key, version, now);
                }
                Ok(Next::OnEvent)
            }
            Err(error) if error.is_namespace_terminating() => Ok(Next::OnEvent),
            Err(error) => {
                let (reason, verb) = match existing {
                    Some(_) => ("FailedToUpdateEndpoint", "update"),
                    None => ("FailedToCreateEndpoint", "create"),
                };
                let message = format!("Failed to {verb} endpoint {key}: {error}");
                self.ctx
                    .recorder
                    .event(&desired, EventType::Warning, reason, message);
                Err(error.into())
            }
        }
    }
}

/// The Endpoints object of a Service, over the one that is there.
fn desired(service: &Service, pods: &[Arc<Pod>], existing: Option<&Endpoints>) -> Endpoints {
    let (subsets, truncated) = subsets(service, pods);
    let mut endpoints = existing.cloned().unwrap_or_else(|| Endpoints {
        metadata: ObjectMeta {
            name: Some(service.name().to_owned()),
            namespace: Some(service.namespace().to_owned()),
            ..ObjectMeta::default()
        },
        subsets: None,
    });
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    let mut labels = service.labels().clone();
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    endpoints.metadata.labels = Some(labels);
    if truncated {
        let annotations = endpoints.metadata.annotations.get_or_insert_default();
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else if let Some(annotations) = &mut endpoints.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
        if annotations.is_empty() {
            endpoints.metadata.annotations = None;
        }
    }
    endpoints
}
