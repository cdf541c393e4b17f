//! The ReplicaSet controller, and with it the ReplicationController's: keeps the number of pods.
//!
//! [`plan`] decides; this file creates (in batches that double while they succeed, so that a quota or a broken webhook is not hit five
//! hundred times), deletes, and counts.

mod kinds;
mod plan;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{
    Api, ApiError, DeleteOptionsExt as _, Event, EventType, Informer, Object as _, ObjectKey,
    Workqueue, selects,
};
use futures_util::future::join_all;
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Pod, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, LabelSelector, Time},
};

use crate::{
    context::ControllerContext,
    controller_ref::{CONTROLLER_INDEX, by_controller, candidates, claim_all},
    expectations::Expectations,
    pods,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

use self::{
    kinds::{Failure, Replicated},
    plan::{Plan, count, plan},
};

/// The first batch of creations; each one after is twice as large.
const INITIAL_BATCH: usize = 1;

/// Names in `--controllers`.
pub(crate) const REPLICA_SET: &str = <ReplicaSet as Replicated>::CONTROLLER;
pub(crate) const REPLICATION_CONTROLLER: &str = <ReplicationController as Replicated>::CONTROLLER;

struct Controller<K> {
    ctx: ControllerContext,
    owners: Informer<K>,
    pods: Informer<Pod>,
    expectations: Expectations,
    queue: Workqueue<ObjectKey>,
}

/// Starts the controller of one of the two kinds.
pub(crate) fn start<K: Replicated>(ctx: ControllerContext) {
    let controller = Arc::new(Controller::<K> {
        owners: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        expectations: Expectations::default(),
        queue: ctx.queue(K::QUEUE),
        ctx: ctx.clone(),
    });
    controller.owners.add_index(CONTROLLER_INDEX, by_controller);
    controller.pods.add_index(CONTROLLER_INDEX, by_controller);
    watch_owners(&ctx, &controller);
    watch_pods(&ctx, &controller);
    let queue = controller.queue.clone();
    run_workers(
        &ctx,
        K::CONTROLLER,
        K::concurrent_syncs(&ctx.config.concurrent_syncs),
        &queue,
        controller,
    );
}

fn watch_owners<K: Replicated>(ctx: &ControllerContext, controller: &Arc<Controller<K>>) {
    let this = controller.clone();
    on_events(
        ctx,
        K::CONTROLLER,
        &controller.owners,
        move |event| match event {
            Event::Resync => this
                .owners
                .store()
                .keys()
                .into_iter()
                .for_each(|key| this.queue.add(key)),
            Event::Added(owner) | Event::Updated { new: owner, .. } => this.queue.add(owner.key()),
            Event::Deleted(owner) => {
                this.expectations.forget(&owner.key());
                this.queue.add(owner.key());
            }
        },
    );
}

fn watch_pods<K: Replicated>(ctx: &ControllerContext, controller: &Arc<Controller<K>>) {
    let this = controller.clone();
    on_events(
        ctx,
        K::CONTROLLER,
        &controller.pods,
        move |event| match event {
            Event::Resync => {
                this.expectations.clear();
                this.owners
                    .store()
                    .keys()
                    .into_iter()
                    .for_each(|key| this.queue.add(key));
            }
            // At a restart a pod may come in already on its way out: no creation then.
            Event::Added(pod) if pod.is_being_deleted() => this.pod_deleted(&pod),
            Event::Added(pod) => this.pod_added(&pod),
            Event::Updated { old, new } => this.pod_updated(&old, &new),
            Event::Deleted(pod) => this.pod_deleted(&pod),
        },
    );
}

impl<K: Replicated> Controller<K> {
    /// The key of the owner that a pod names, if it is one of ours, under the uid it names.
    fn owner_of(&self, pod: &Pod) -> Option<ObjectKey> {
        let owner = pod.controller_ref().filter(|owner| owner.kind == K::KIND)?;
        let known = self.owners.store().get(pod.namespace(), &owner.name)?;
        (known.uid() == owner.uid).then(|| known.key())
    }

    fn pod_added(&self, pod: &Pod) {
        if pod.controller_ref().is_some() {
            if let Some(owner) = self.owner_of(pod) {
                self.expectations.creation_observed(&owner);
                self.queue.add(owner);
            }
            return;
        }
        self.call_adopters(pod);
    }

    /// An orphan: whoever selects it may adopt it.
    fn call_adopters(&self, pod: &Pod) {
        for owner in self.owners.store().list_namespace(pod.namespace()) {
            if owner
                .selector()
                .is_some_and(|selector| selects(&selector, pod.labels()))
            {
                self.queue.add(owner.key());
            }
        }
    }

    fn pod_updated(&self, old: &Pod, new: &Pod) {
        if new.is_being_deleted() {
            // The mark is as good as the deletion: a replacement is wanted now, not when the pod has ended.
            self.pod_deleted(new);
            if old.labels() != new.labels() {
                self.pod_deleted(old);
            }
            return;
        }
        if old.controller_ref() != new.controller_ref()
            && let Some(owner) = self.owner_of(old)
        {
            self.queue.add(owner);
        }
        if new.controller_ref().is_none() {
            if old.labels() != new.labels() || old.controller_ref().is_some() {
                self.call_adopters(new);
            }
            return;
        }
        let Some(key) = self.owner_of(new) else {
            return;
        };
        if !pods::is_ready(old)
            && pods::is_ready(new)
            && let Some(owner) = self.owners.store().get_key(&key)
            && owner.min_ready_seconds() > 0
        {
            // It becomes available without any further event. A second more, since times in objects are whole seconds.
            let seconds = u64::try_from(owner.min_ready_seconds()).unwrap_or_default() + 1;
            self.queue
                .add_after(key.clone(), Duration::from_secs(seconds));
        }
        self.queue.add(key);
    }

    fn pod_deleted(&self, pod: &Pod) {
        if let Some(owner) = self.owner_of(pod) {
            self.expectations.deletion_observed(&owner, &pod.key());
            self.queue.add(owner);
        }
    }
}

#[async_trait]
impl<K: Replicated> Reconciler for Controller<K> {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.owners.has_synced().await;
        self.pods.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(owner) = self.owners.store().get_key(key) else {
            self.expectations.forget(key);
            return Ok(Next::OnEvent);
        };
        let Some(selector) = owner.selector() else {
            return Ok(Next::OnEvent);
        };
        let may_act = self.expectations.satisfied(key);
        let (active, terminating) = self.claim_pods(&*owner, &selector).await?;
        let result = if may_act && !owner.is_being_deleted() {
            self.manage(&*owner, &active).await
        } else {
            Ok(())
        };
        let failure = result.as_ref().err().map(|(reason, error)| Failure {
            reason,
            message: error.to_string(),
            at: Time(self.ctx.clock.now()),
        });
        self.update_status(&owner, &active, terminating, failure.as_ref())
            .await?;
        result.map_err(|(_, error)| error)?;
        let min_ready_seconds = owner.min_ready_seconds();
        let next = pods::next_availability(&active, min_ready_seconds, self.ctx.clock.now());
        Ok(next.map_or(Next::OnEvent, Next::After))
    }
}

impl<K: Replicated> Controller<K> {
    fn pods(&self, owner: &K) -> Api<Pod> {
        self.ctx.client.api(owner.namespace())
    }

    /// The active pods it owns, after adoption and release, and how many more are on their way out.
    async fn claim_pods(
        &self,
        owner: &K,
        selector: &LabelSelector,
    ) -> Result<(Vec<Arc<Pod>>, i32), Error> {
        let store = self.pods.store();
        let terminating = store
            .by_index(CONTROLLER_INDEX, owner.uid())
            .iter()
            .filter(|pod| pods::is_terminating(pod))
            .count();
        let mut candidates = candidates(owner, store);
        candidates.retain(|pod| pods::is_active(pod));
        let owners = self.ctx.client.api::<K>(owner.namespace());
        let active = claim_all(
            &owners,
            &self.pods(owner),
            owner,
            selector,
            candidates,
            None,
        )
        .await?;
        Ok((active, i32::try_from(terminating).unwrap_or(i32::MAX)))
    }

    /// Creates or deletes; on failure with the reason that the status tells.
    async fn manage(&self, owner: &K, active: &[Arc<Pod>]) -> Result<(), (&'static str, Error)> {
        let wanted = usize::try_from(owner.replicas()).unwrap_or_default();
        match plan(active, wanted, &self.related(owner), self.ctx.clock.now()) {
            Plan::Nothing => Ok(()),
            Plan::Create(count) => self
                .create(owner, count)
                .await
                .map_err(|error| ("FailedCreate", error)),
            Plan::Delete(pods) => self
                .delete(owner, &pods)
                .await
                .map_err(|error| ("FailedDelete", error)),
        }
    }

    /// Active pods of all owners that have the same controller (the ReplicaSets of one Deployment), its own included.
    fn related(&self, owner: &K) -> Vec<Arc<Pod>> {
        let Some(controller) = owner.controller_ref() else {
            return self.pods.store().by_index(CONTROLLER_INDEX, owner.uid());
        };
        let siblings = self
            .owners
            .store()
            .by_index(CONTROLLER_INDEX, &controller.uid);
        siblings
            .iter()
            .flat_map(|owner| self.pods.store().by_index(CONTROLLER_INDEX, owner.uid()))
            .collect()
    }

    async fn create(&self, owner: &K, count: usize) -> Result<(), Error> {
        let Some(template) = owner.template() else {
            return Ok(());
        };
        let key = owner.key();
        let pod = pods::from_template(template, owner.name(), owner.controller_owner_reference());
        self.expectations.expect_creations(&key, count);
        let api = self.pods(owner);
        let mut left = count;
        let mut batch = INITIAL_BATCH.min(left);
        while left > 0 {
            let results = join_all((0..batch).map(|_| self.create_one(&api, owner, &pod))).await;
            left -= batch;
            let mut errors: Vec<ApiError> = results.into_iter().filter_map(Result::err).collect();
            if let Some(error) = errors.pop() {
                // The failed and those not tried will not be seen.
                (0..errors.len() + 1 + left)
                    .for_each(|_| self.expectations.creation_observed(&key));
                let hopeless = error.is_namespace_terminating();
                return if hopeless { Ok(()) } else { Err(error.into()) };
            }
            batch = (2 * batch).min(left);
        }
        Ok(())
    }

    async fn create_one(&self, api: &Api<Pod>, owner: &K, pod: &Pod) -> Result<(), ApiError> {
        match api.create(pod).await {
            Ok(created) => {
                let message = format!("Created pod: {}", created.name());
                self.ctx
                    .recorder
                    .event(owner, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating: {error}");
                    self.ctx
                        .recorder
                        .event(owner, EventType::Warning, "FailedCreate", message);
                }
                Err(error)
            }
        }
    }

    async fn delete(&self, owner: &K, pods: &[Arc<Pod>]) -> Result<(), Error> {
        let key = owner.key();
        self.expectations
            .expect_deletions(&key, pods.iter().map(|pod| pod.key()));
        let api = self.pods(owner);
        let results = join_all(
            pods.iter()
                .map(|pod| self.delete_one(&api, owner, &key, pod)),
        )
        .await;
        Error::aggregate(
            results
                .into_iter()
                .filter_map(Result::err)
                .take(1)
                .map(Error::from)
                .collect(),
        )
    }

    async fn delete_one(
        &self,
        api: &Api<Pod>,
        owner: &K,
        key: &ObjectKey,
        pod: &Pod,
    ) -> Result<(), ApiError> {
        // Never a namesake.
        let options = DeleteOptions::default().with_uid(pod.uid());
        match api.delete(pod.name(), &options).await {
            Ok(()) => {
                let message = format!("Deleted pod: {}", pod.name());
                self.ctx
                    .recorder
                    .event(owner, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(key, &pod.key());
                if error.is_not_found() || error.is_conflict() {
                    return Ok(());
                }
                let message = format!("Error deleting: {error}");
                self.ctx
                    .recorder
                    .event(owner, EventType::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }

    async fn update_status(
        &self,
        owner: &K,
        active: &[Arc<Pod>],
        terminating: i32,
        failure: Option<&Failure>,
    ) -> Result<(), Error> {
        let metadata = owner
            .template()
            .and_then(|template| template.metadata.as_ref());
        let labels = metadata
            .and_then(|metadata| metadata.labels.clone())
            .unwrap_or_default();
        let counts = count(
            active,
            &labels,
            owner.min_ready_seconds(),
            self.ctx.clock.now(),
        );
        let desired = owner.with_status(&counts, terminating, failure);
        if !desired.same_status(owner) {
            self.ctx
                .client
                .api::<K>(owner.namespace())
                .update_status(&desired)
                .await?;
        }
        Ok(())
    }
}
