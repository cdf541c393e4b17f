//! The ResourceQuota controller: `status.hard` says what admission enforces, `status.used` what there is.
//!
//! Admission counts up as objects are made; this controller counts anew what there is: when a quota comes or its limits change, when
//! something that it counts goes or uses less (a pod that has ended uses nothing), when something older than the quota, which admission had
//! no quota to count for, is seen late, and every five minutes. Pods, Services and
//! PersistentVolumeClaims are measured; of anything else the number counts, which [`monitors`] know without asking the server. They run
//! for what quotas name, and for nothing else.

mod plan;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use api::quota::{self, Evaluator, Resources};
use apimachinery::{
    Object, Quantity,
    gvk::{GroupResource, GroupVersionResource},
};
use async_trait::async_trait;
use client::{
    ApiError, Discovery, Event, Informer, Kind, ListParams, Object as _, ObjectKey,
    PartialObjectMetadata, Store, Workqueue,
};
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service},
    resource::v1::ResourceClaim,
};
use tokio::sync::{Notify, watch};

use crate::{
    context::ControllerContext,
    monitors::{self, Watcher},
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

pub(crate) const NAME: &str = "resourcequota-controller";
const QUOTAS: GroupResource = GroupResource::new("", "resourcequotas");

struct ResourceQuotaController {
    ctx: ControllerContext,
    queue: Workqueue<ObjectKey>,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    resource_claims: Informer<ResourceClaim>,
    /// What is only counted.
    counted: Mutex<HashMap<GroupResource, Informer<PartialObjectMetadata>>>,
    /// A quota names something that nobody counts yet.
    uncounted: Notify,
    monitors_synced: watch::Sender<bool>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(ResourceQuotaController {
        queue: ctx.queue("resourcequota_primary"),
        quotas: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        services: ctx.informers.informer(),
        claims: ctx.informers.informer(),
        resource_claims: ctx.informers.informer(),
        counted: Mutex::default(),
        uncounted: Notify::new(),
        monitors_synced: watch::Sender::new(false),
        ctx: ctx.clone(),
    });
    let (queue, store) = (controller.queue.clone(), controller.quotas.store().clone());
    on_events(&ctx, NAME, &controller.quotas, move |event| match event {
        Event::Resync => store.keys().into_iter().for_each(|key| queue.add(key)),
        Event::Added(quota) => queue.add(quota.key()),
        // A status that admission counted up must not be counted anew: what it granted may not be there yet.
        Event::Updated { old, new } if old.spec == new.spec => {}
        Event::Updated { new, .. } => queue.add(new.key()),
        Event::Deleted(_) => {}
    });
    replenish(&controller, &controller.pods, Evaluator::Pods);
    replenish(&controller, &controller.services, Evaluator::Services);
    replenish(&controller, &controller.claims, Evaluator::Claims);
    replenish(
        &controller,
        &controller.resource_claims,
        Evaluator::ResourceClaims,
    );
    ctx.tasks.spawn(NAME, monitors::run(controller.clone()));
    let (queue, workers) = (
        controller.queue.clone(),
        ctx.config.concurrent_syncs.resource_quota,
    );
    run_workers(&ctx, NAME, workers, &queue, controller);
}

/// Counts anew when an object goes, or when it counts otherwise than before.
fn replenish<K: Kind>(
    controller: &Arc<ResourceQuotaController>,
    informer: &Informer<K>,
    evaluator: Evaluator,
) {
    let ctx = &controller.ctx;
    let controller = controller.clone();
    on_events(ctx, NAME, informer, move |event| match event {
        Event::Resync => controller.recount(&controller.quotas.store().list(), &evaluator),
        Event::Added(object) => controller.recount_younger(&*object, &evaluator),
        Event::Updated { old, new } => {
            let quotas = controller.quotas.store().list_namespace(new.namespace());
            if quotas.is_empty() {
                return;
            }
            let (old, new) = (fields(&*old), fields(&*new));
            for quota in quotas {
                let Some(names) = plan::measured(&quota).remove(&evaluator) else {
                    continue;
                };
                let limits = fields(&*quota);
                let share = |object| quota::total(&limits, &evaluator, &names, [object]);
                if share(&old) != share(&new) {
                    controller.queue.add(quota.key());
                }
            }
        }
        Event::Deleted(object) => {
            let quotas = controller.quotas.store().list_namespace(object.namespace());
            controller.recount(&quotas, &evaluator);
        }
    });
}

/// An object as the evaluators read it.
fn fields<K: Kind>(object: &K) -> Object {
    serde_json::from_slice(&object.to_json()).expect("an encoded object is an object")
}

impl ResourceQuotaController {
    fn counted(&self) -> MutexGuard<'_, HashMap<GroupResource, Informer<PartialObjectMetadata>>> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues those of the quotas that have to do with what `evaluator` measures.
    fn recount(&self, quotas: &[Arc<ResourceQuota>], evaluator: &Evaluator) {
        for quota in quotas {
            if plan::measured(quota).contains_key(evaluator) {
                self.queue.add(quota.key());
            }
        }
    }

    /// Queues those quotas that are not older than an object: when that was made, admission may have had no such quota to count it for, and
    /// this controller may have counted before it was seen.
    fn recount_younger<T: client::Object>(&self, object: &T, evaluator: &Evaluator) {
        let made = &object.metadata().creation_timestamp;
        let mut quotas = self.quotas.store().list_namespace(object.namespace());
        quotas.retain(|quota| quota.metadata.creation_timestamp >= *made);
        self.recount(&quotas, evaluator);
    }

    /// What there is in the quota's namespace, of all that it limits and that can be measured now.
    fn usage(&self, quota: &ResourceQuota) -> Resources {
        let limits = fields(quota);
        let namespace = quota.namespace();
        let mut usage = Resources::new();
        for (evaluator, names) in plan::measured(quota) {
            let measured = match &evaluator {
                Evaluator::Pods => sum(&limits, &evaluator, &names, self.pods.store(), namespace),
                Evaluator::Services => sum(
                    &limits,
                    &evaluator,
                    &names,
                    self.services.store(),
                    namespace,
                ),
                Evaluator::Claims => {
                    sum(&limits, &evaluator, &names, self.claims.store(), namespace)
                }
                Evaluator::ResourceClaims => sum(
                    &limits,
                    &evaluator,
                    &names,
                    self.resource_claims.store(),
                    namespace,
                ),
                Evaluator::Count(resource) => {
                    let Some(number) = self.number_of(resource, namespace) else {
                        continue;
                    };
                    // Scopes know nothing of objects that are only counted: a quota with any counts none of them.
                    let counts = quota::matches(&limits, &evaluator, &Object::new());
                    let number = Quantity::from(if counts { number } else { 0 });
                    let all = names.iter().map(|name| ((*name).to_owned(), number));
                    all.collect()
                }
            };
            usage.extend(measured);
        }
        usage
    }

    /// How many objects of a resource there are, unless that is not known yet.
    fn number_of(&self, resource: &GroupResource, namespace: &str) -> Option<i64> {
        // A quota is counted where it was seen: another informer may not have heard of it yet, and nobody would count it again.
        if *resource == QUOTAS {
            let quotas = self.quotas.store().list_namespace(namespace);
            return Some(i64::try_from(quotas.len()).unwrap_or(i64::MAX));
        }
        let Some(informer) = self.counted().get(resource).cloned() else {
            self.uncounted.notify_one();
            return None;
        };
        let known = informer.is_synced();
        known.then(|| {
            let objects = informer.store().list_namespace(namespace);
            i64::try_from(objects.len()).unwrap_or(i64::MAX)
        })
    }
}

fn sum<K: Kind>(
    quota: &Object,
    evaluator: &Evaluator,
    names: &[&str],
    store: &Store<K>,
    namespace: &str,
) -> Resources {
    let objects: Vec<Object> = store
        .list_namespace(namespace)
        .iter()
        .map(|object| fields(&**object))
        .collect();
    quota::total(quota, evaluator, names, &objects)
}

#[async_trait]
impl Reconciler for ResourceQuotaController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.quotas.has_synced().await;
        self.pods.has_synced().await;
        self.services.has_synced().await;
        self.claims.has_synced().await;
        self.resource_claims.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // Read anew: the informer may not have heard yet of what admission has counted up, and nothing would bring the quota here again.
        let api = self.ctx.client.api::<ResourceQuota>(&key.namespace);
        let params = ListParams {
            field_selector: Some(format!("metadata.name={}", key.name)),
            ..ListParams::default()
        };
        let Some(mut quota) = api.list(&params).await?.items.pop() else {
            return Ok(Next::OnEvent);
        };
        if let Some(status) = plan::status(&quota, &self.usage(&quota)) {
            quota.status = Some(status);
            // With the version that was read: who counted up meanwhile wins, and all is counted again.
            ApiError::not_found_is_none(api.update_status(&quota).await)?;
        }
        Ok(Next::After(self.ctx.config.resource_quota_sync_period))
    }
}

#[async_trait]
impl Watcher for ResourceQuotaController {
    const NAME: &'static str = NAME;

    fn context(&self) -> &ControllerContext {
        &self.ctx
    }

    fn synced(&self) -> &watch::Sender<bool> {
        &self.monitors_synced
    }

    fn wanted(&self, discovery: &Discovery) -> Vec<GroupVersionResource> {
        let quotas = self.quotas.store().list();
        let named: HashSet<Evaluator> = quotas
            .iter()
            .flat_map(|quota| plan::measured(quota).into_keys())
            .collect();
        let resources = discovery.preferred().into_iter();
        resources
            .filter(|resource| {
                resource.namespaced && resource.supports(&["create", "delete", "list", "watch"])
            })
            .map(|resource| resource.gvr.clone())
            .filter(|gvr| named.contains(&Evaluator::Count(gvr.group_resource())))
            .collect()
    }

    async fn wants_more(&self) {
        self.uncounted.notified().await;
    }

    fn started(&self, gvr: &GroupVersionResource, informer: &Informer<PartialObjectMetadata>) {
        self.counted()
            .insert(gvr.group_resource(), informer.clone());
    }

    fn filled(&self, gvr: &GroupVersionResource) {
        let evaluator = Evaluator::Count(gvr.group_resource());
        self.recount(&self.quotas.store().list(), &evaluator);
    }

    fn observe(
        &self,
        gvr: &GroupVersionResource,
        event: Event<PartialObjectMetadata>,
        _store: &Store<PartialObjectMetadata>,
    ) {
        let quotas = self.quotas.store();
        let evaluator = Evaluator::Count(gvr.group_resource());
        let concerned = match event {
            Event::Resync => quotas.list(),
            Event::Deleted(object) => quotas.list_namespace(object.namespace()),
            Event::Added(object) => return self.recount_younger(&*object, &evaluator),
            Event::Updated { .. } => return,
        };
        self.recount(&concerned, &evaluator);
    }

    fn forget(&self, gvr: &GroupVersionResource) {
        self.counted().remove(&gvr.group_resource());
        // A quota that came while the monitor was on its way out has counted by it, and wants it again.
        let evaluator = Evaluator::Count(gvr.group_resource());
        self.recount(&self.quotas.store().list(), &evaluator);
    }
}
