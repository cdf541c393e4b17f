//! The Deployment controller: [`plan`] decides, this file carries it out.

mod annotations;
pub(crate) mod bounds;
mod plan;
mod recreate;
mod rolling;
mod scale;
mod status;
pub(crate) mod template;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use client::{
    Api, ApiError, Event, EventType, Informer, Kind as _, Object as _, ObjectKey, Workqueue,
    selects, selects_everything,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use tracing::info;

use crate::{
    context::ControllerContext,
    controller_ref::{CONTROLLER_INDEX, by_controller, candidates, claim_all},
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

use self::{
    bounds::set_replicas,
    plan::{Action, plan},
};

/// Its name in `--controllers`, in logs and events.
pub(crate) const NAME: &str = "deployment-controller";

struct DeploymentController {
    ctx: ControllerContext,
    deployments: Informer<Deployment>,
    replica_sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(DeploymentController {
        deployments: ctx.informers.informer(),
        replica_sets: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    controller
        .replica_sets
        .add_index(CONTROLLER_INDEX, by_controller);
    controller.pods.add_index(CONTROLLER_INDEX, by_controller);
    let queue = ctx.queue("deployment");
    queue_changes(&ctx, NAME, &controller.deployments, &queue);
    watch_replica_sets(&ctx, &controller, &queue);
    watch_pods(&ctx, &controller, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.deployment,
        &queue,
        controller,
    );
}

/// A ReplicaSet calls its Deployment; one that lost or never had a controller, all Deployments that would adopt it.
fn watch_replica_sets(
    ctx: &ControllerContext,
    controller: &Arc<DeploymentController>,
    queue: &Workqueue<ObjectKey>,
) {
    let (deployments, queue) = (controller.deployments.store().clone(), queue.clone());
    let (all_deployments, all) = (deployments.clone(), queue.clone());
    let enqueue = move |set: &ReplicaSet| match set.controller_ref() {
        Some(owner) if owner.kind == Deployment::KIND => {
            queue.add(ObjectKey::new(set.namespace(), &owner.name))
        }
        Some(_) => {}
        None => {
            for deployment in deployments.list_namespace(set.namespace()) {
                if deployment
                    .spec
                    .as_ref()
                    .is_some_and(|spec| selects(&spec.selector, set.labels()))
                {
                    queue.add(deployment.key());
                }
            }
        }
    };
    on_events(
        ctx,
        NAME,
        &controller.replica_sets,
        move |event| match event {
            Event::Resync => all_deployments
                .keys()
                .into_iter()
                .for_each(|key| all.add(key)),
            Event::Updated { old, new } => {
                if old.controller_ref() != new.controller_ref() {
                    enqueue(&old);
                }
                enqueue(&new);
            }
            Event::Added(set) | Event::Deleted(set) => enqueue(&set),
        },
    );
}

/// `Recreate` waits for the last old pod to go; nothing else of a pod is of interest here.
fn watch_pods(
    ctx: &ControllerContext,
    controller: &Arc<DeploymentController>,
    queue: &Workqueue<ObjectKey>,
) {
    let (this, queue) = (controller.clone(), queue.clone());
    on_events(ctx, NAME, &controller.pods, move |event| {
        if let Event::Deleted(pod) = event
            && let Some(set) = pod.controller_ref()
            && let Some(set) = this.replica_sets.store().get(pod.namespace(), &set.name)
            && let Some(owner) = set.controller_ref()
            && let Some(deployment) = this.deployments.store().get(pod.namespace(), &owner.name)
            && !bounds::is_rolling(&deployment)
        {
            queue.add(deployment.key());
        }
    });
}

#[async_trait]
impl Reconciler for DeploymentController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.deployments.has_synced().await;
        self.replica_sets.has_synced().await;
        self.pods.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let Some(spec) = &deployment.spec else {
            return Ok(Next::OnEvent);
        };
        if selects_everything(&spec.selector) {
            return self.refuse_to_select_all(&deployment).await;
        }
        let candidates = candidates(&*deployment, self.replica_sets.store());
        let sets = claim_all(
            &self.api(&deployment),
            &self.sets(&deployment),
            &*deployment,
            &spec.selector,
            candidates,
            None,
        )
        .await?;
        let pods = self.pods_of(&sets);
        let plan = plan(&deployment, &sets, &pods, self.ctx.clock.now());
        for action in plan.actions {
            self.execute(&deployment, action).await?;
        }
        Ok(plan.recheck_after.map_or(Next::OnEvent, Next::After))
    }
}

impl DeploymentController {
    fn api(&self, deployment: &Deployment) -> Api<Deployment> {
        self.ctx.client.api(deployment.namespace())
    }

    fn sets(&self, deployment: &Deployment) -> Api<ReplicaSet> {
        self.ctx.client.api(deployment.namespace())
    }

    fn pods_of(&self, sets: &[Arc<ReplicaSet>]) -> Vec<Arc<Pod>> {
        let uids: HashSet<&str> = sets.iter().map(|set| set.uid()).collect();
        uids.into_iter()
            .flat_map(|uid| self.pods.store().by_index(CONTROLLER_INDEX, uid))
            .collect()
    }

    async fn refuse_to_select_all(&self, deployment: &Deployment) -> Result<Next, Error> {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        self.ctx
            .recorder
            .event(deployment, EventType::Warning, "SelectingAll", message);
        let observed = deployment
            .status
            .as_ref()
            .and_then(|status| status.observed_generation);
        if observed.unwrap_or_default() < deployment.generation() {
            let mut seen = deployment.clone();
            seen.status.get_or_insert_default().observed_generation = Some(deployment.generation());
            self.api(deployment).update_status(&seen).await?;
        }
        Ok(Next::OnEvent)
    }

    async fn execute(&self, deployment: &Deployment, action: Action) -> Result<(), Error> {
        match action {
            Action::CreateReplicaSet(set) => self.create(deployment, &set).await,
            Action::UpdateReplicaSet { set, from } => {
                self.sets(deployment).update(&set).await?;
                self.tell_of_scaling(deployment, &set, from);
                Ok(())
            }
            Action::DeleteReplicaSet { name } => {
                info!(deployment = %deployment.key(), replica_set = name, "deleting a replica set of the past");
                let deleted = self
                    .sets(deployment)
                    .delete(&name, &DeleteOptions::default())
                    .await;
                ApiError::not_found_is_none(deleted)?;
                Ok(())
            }
            Action::UpdateStatus(desired) => {
                self.api(deployment).update_status(&desired).await?;
                Ok(())
            }
        }
    }

    fn tell_of_scaling(&self, deployment: &Deployment, set: &ReplicaSet, from: i32) {
        let to = set_replicas(set);
        if from == to {
            return;
        }
        let direction = if to > from { "up" } else { "down" };
        let message = format!(
            "Scaled {direction} replica set {} from {from} to {to}",
            set.name()
        );
        self.ctx
            .recorder
            .event(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    async fn create(&self, deployment: &Deployment, set: &ReplicaSet) -> Result<(), Error> {
        match self.sets(deployment).create(set).await {
            Ok(created) => {
                self.tell_of_scaling(deployment, &created, 0);
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                self.resolve_collision(deployment, set, error).await
            }
            // Nothing can be made in a namespace that is going away, and it will never be different.
            Err(error) if error.is_namespace_terminating() => Ok(()),
            Err(error) => self.report_failure(deployment, set, error).await,
        }
    }

    /// The name is taken: by this very ReplicaSet (the informer is behind), or by another one with the same hash.
    async fn resolve_collision(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        error: ApiError,
    ) -> Result<(), Error> {
        let existing = self.sets(deployment).get(set.name()).await?;
        let ours = existing
            .controller_ref()
            .is_some_and(|owner| owner.uid == deployment.uid());
        if ours && template::runs(&existing, &template::of_deployment(deployment)) {
            return Ok(());
        }
        let mut bumped = deployment.clone();
        let status = bumped.status.get_or_insert_default();
        status.collision_count = Some(status.collision_count.unwrap_or_default() + 1);
        self.api(deployment).update_status(&bumped).await?;
        Err(error.into())
    }

    async fn report_failure(
        &self,
        deployment: &Deployment,
        set: &ReplicaSet,
        error: ApiError,
    ) -> Result<(), Error> {
        const REASON: &str = "ReplicaSetCreateError";
        let message = format!("Failed to create new replica set {:?}: {error}", set.name());
        self.ctx
            .recorder
            .event(deployment, EventType::Warning, REASON, message.clone());
        if status::progress_deadline(deployment).is_some() {
            let mut failed = deployment.clone();
            let now = self.ctx.clock.now();
            let condition = status::condition(status::PROGRESSING, "False", REASON, message, now);
            status::set(failed.status.get_or_insert_default(), condition);
            if failed.status != deployment.status {
                self.api(deployment).update_status(&failed).await?;
            }
        }
        Err(error.into())
    }
}
