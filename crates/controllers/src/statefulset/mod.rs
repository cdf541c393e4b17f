//! The StatefulSet controller: pods with names, an order, and claims that stay when they go.
//!
//! [`plan`] decides. Who owns the claims, and so whether they stay, is [`retention`]'s.

mod identity;
mod plan;
mod retention;

use std::sync::Arc;

use async_trait::async_trait;
use client::{
    Api, ApiError, DeleteOptionsExt as _, Event, EventType, Informer, Kind as _, Object as _,
    ObjectKey, Workqueue, selects,
};
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, StatefulSet},
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};

use crate::{
    context::ControllerContext,
    controller_ref::{CONTROLLER_INDEX, by_controller, candidates, claim_all},
    history::{self, History},
    pods,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

use self::plan::{Action, Revisions, Why, ordinal_of, plan, wants_ordinal};

pub(crate) const NAME: &str = "statefulset-controller";

struct StatefulSetController {
    ctx: ControllerContext,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    revisions: Informer<ControllerRevision>,
    claims: Informer<PersistentVolumeClaim>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(StatefulSetController {
        sets: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        revisions: ctx.informers.informer(),
        claims: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    controller.pods.add_index(CONTROLLER_INDEX, by_controller);
    controller
        .revisions
        .add_index(CONTROLLER_INDEX, by_controller);
    let queue = ctx.queue("statefulset");
    queue_changes(&ctx, NAME, &controller.sets, &queue);
    watch_pods(&ctx, &controller, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.stateful_set,
        &queue,
        controller,
    );
}

fn watch_pods(
    ctx: &ControllerContext,
    controller: &Arc<StatefulSetController>,
    queue: &Workqueue<ObjectKey>,
) {
    let (sets, queue) = (controller.sets.store().clone(), queue.clone());
    let call = move |pod: &Pod| match pod.controller_ref() {
        Some(owner) if owner.kind == StatefulSet::KIND => {
            queue.add(ObjectKey::new(pod.namespace(), &owner.name))
        }
        Some(_) => {}
        None => {
            for set in sets.list_namespace(pod.namespace()) {
                if set
                    .spec
                    .as_ref()
                    .is_some_and(|spec| selects(&spec.selector, pod.labels()))
                {
                    queue.add(set.key());
                }
            }
        }
    };
    let store = controller.pods.store().clone();
    on_events(ctx, NAME, &controller.pods, move |event| match event {
        Event::Resync => store.list().iter().for_each(|pod| call(pod)),
        Event::Updated { old, new } => {
            if old.controller_ref() != new.controller_ref() {
                call(&old);
            }
            call(&new);
        }
        Event::Added(pod) | Event::Deleted(pod) => call(&pod),
    });
}

#[async_trait]
impl Reconciler for StatefulSetController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.sets.has_synced().await;
        self.pods.has_synced().await;
        self.revisions.has_synced().await;
        self.claims.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let Some(spec) = &set.spec else {
            return Ok(Next::OnEvent);
        };
        let pods = self.own_pods(&set).await?;
        let status = set.status.clone().unwrap_or_default();
        let known = self.revisions.store().by_index(CONTROLLER_INDEX, set.uid());
        let labels = spec.selector.match_labels.clone().unwrap_or_default();
        let client = &self.ctx.client;
        let history = history::sync(
            client,
            &*set,
            (&labels, history::HASH_LABEL),
            &spec.template,
            known,
            status.collision_count,
        )
        .await?;
        let current = history
            .all
            .iter()
            .find(|revision| Some(revision.name()) == status.current_revision.as_deref())
            .unwrap_or(&history.update);
        let revisions = Revisions {
            current: current.name(),
            update: history.update.name(),
        };
        let mut plan = plan(&set, revisions, &pods, self.ctx.clock.now());
        plan.status.collision_count = history.collision_count;
        for pod in &pods {
            self.set_owners_of_claims(&set, pod).await?;
        }
        for action in plan.actions {
            self.execute(&set, &history, action).await?;
        }
        if status != plan.status {
            let desired = StatefulSet {
                status: Some(plan.status),
                ..(*set).clone()
            };
            self.api(&set).update_status(&desired).await?;
        }
        let in_use = |revision: &ControllerRevision| {
            let named =
                |pod: &Arc<Pod>| pod.label(history::REVISION_LABEL) == Some(revision.name());
            [revisions.current, revisions.update].contains(&revision.name())
                || pods.iter().any(named)
        };
        history::truncate(client, &history.all, in_use, spec.revision_history_limit).await?;
        let min_ready_seconds = spec.min_ready_seconds.unwrap_or_default();
        let next = pods::next_availability(&pods, min_ready_seconds, self.ctx.clock.now());
        Ok(next.map_or(Next::OnEvent, Next::After))
    }
}

impl StatefulSetController {
    fn api(&self, set: &StatefulSet) -> Api<StatefulSet> {
        self.ctx.client.api(set.namespace())
    }

    fn pod_api(&self, set: &StatefulSet) -> Api<Pod> {
        self.ctx.client.api(set.namespace())
    }

    /// Its pods; of orphans only those with a name of its own can be adopted.
    async fn own_pods(&self, set: &StatefulSet) -> Result<Vec<Arc<Pod>>, Error> {
        let Some(spec) = &set.spec else {
            return Ok(Vec::new());
        };
        let mut candidates = candidates(set, self.pods.store());
        candidates.retain(|pod| ordinal_of(set, pod).is_some());
        claim_all(
            &self.api(set),
            &self.pod_api(set),
            set,
            &spec.selector,
            candidates,
            None,
        )
        .await
    }

    async fn execute(
        &self,
        set: &StatefulSet,
        history: &History,
        action: Action,
    ) -> Result<(), Error> {
        match action {
            Action::Create { ordinal, revision } => {
                self.create(set, history, ordinal, &revision).await
            }
            Action::Delete { pod, why } => self.delete(set, &pod, why).await,
        }
    }

    async fn create(
        &self,
        set: &StatefulSet,
        history: &History,
        ordinal: i32,
        revision: &str,
    ) -> Result<(), Error> {
        let template = history
            .all
            .iter()
            .find(|known| known.name() == revision)
            .and_then(|known| history::template_of(known))
            .ok_or_else(|| Error::State(format!("revision {revision} holds no template")))?;
        let pod = identity::pod(set, &template, revision, ordinal);
        let result = match self.create_claims(set, &pod, ordinal).await {
            Ok(()) => self.pod_api(set).create(&pod).await,
            Err(error) => Err(error),
        };
        match result {
            Ok(_) => {
                let message = format!(
                    "create Pod {} in StatefulSet {} successful",
                    pod.name(),
                    set.name()
                );
                self.ctx
                    .recorder
                    .event(set, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            // The informer is behind, or the old one is not gone yet: its event calls us.
            Err(error) if error.is_already_exists() || error.is_namespace_terminating() => Ok(()),
            Err(error) => {
                let message = format!(
                    "create Pod {} in StatefulSet {} failed error: {error}",
                    pod.name(),
                    set.name()
                );
                self.ctx
                    .recorder
                    .event(set, EventType::Warning, "FailedCreate", message);
                Err(error.into())
            }
        }
    }

    async fn create_claims(
        &self,
        set: &StatefulSet,
        pod: &Pod,
        ordinal: i32,
    ) -> Result<(), ApiError> {
        for (_, claim) in identity::claims(set, ordinal) {
            if self.claims.store().get_key(&claim.key()).is_some() {
                continue;
            }
            match self
                .ctx
                .client
                .api::<PersistentVolumeClaim>(set.namespace())
                .create(&claim)
                .await
            {
                Ok(_) => {
                    let message = format!(
                        "create Claim {} Pod {} in StatefulSet {} success",
                        claim.name(),
                        pod.name(),
                        set.name()
                    );
                    self.ctx
                        .recorder
                        .event(set, EventType::Normal, "SuccessfulCreate", message);
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes the retention policy into the claims of a pod.
    async fn set_owners_of_claims(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let Some(ordinal) = ordinal_of(set, pod) else {
            return Ok(());
        };
        let scaled_away = !wants_ordinal(set, ordinal);
        for (_, claim) in identity::claims(set, ordinal) {
            let Some(known) = self.claims.store().get_key(&claim.key()) else {
                continue;
            };
            if let Some(owners) = retention::owners(&known, set, pod, scaled_away) {
                let mut changed = (*known).clone();
                changed.metadata.owner_references = Some(owners);
                let api = self
                    .ctx
                    .client
                    .api::<PersistentVolumeClaim>(set.namespace());
                ApiError::not_found_is_none(api.update(&changed).await)?;
            }
        }
        Ok(())
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod, why: Why) -> Result<(), Error> {
        if why == Why::Ended {
            let (reason, word) = match pods::phase(pod) {
                "Failed" => ("RecreatingFailedPod", "failed"),
                _ => ("RecreatingTerminatedPod", "terminated"),
            };
            let message = format!(
                "StatefulSet {} is recreating {word} Pod {}",
                set.key(),
                pod.name()
            );
            self.ctx
                .recorder
                .event(set, EventType::Warning, reason, message);
        }
        let options = DeleteOptions::default().with_uid(pod.uid());
        match self.pod_api(set).delete(pod.name(), &options).await {
            Ok(()) => {
                let message = format!(
                    "delete Pod {} in StatefulSet {} successful",
                    pod.name(),
                    set.name()
                );
                self.ctx
                    .recorder
                    .event(set, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            Err(error) => {
                let message = format!(
                    "delete Pod {} in StatefulSet {} failed error: {error}",
                    pod.name(),
                    set.name()
                );
                self.ctx
                    .recorder
                    .event(set, EventType::Warning, "FailedDelete", message);
                Err(error.into())
            }
        }
    }
}
