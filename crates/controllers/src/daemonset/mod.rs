//! The DaemonSet controller: one pod on each node that fits.
//!
//! [`plan`] decides. Pods are tied to their node by affinity, and bound there by the scheduler.

mod nodes;
mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use client::{
    Api, DeleteOptionsExt as _, Event, EventType, Informer, Kind as _, Object as _, ObjectKey,
    Workqueue, selects, selects_everything,
};
use futures_util::future::join_all;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet},
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};

use crate::{
    context::ControllerContext,
    controller_ref::{CONTROLLER_INDEX, by_controller, candidates, claim_all},
    expectations::Expectations,
    history, pods,
    reconcile::{Error, Next, Reconciler, on_events, queue_changes, run_workers},
};

use self::plan::plan;

pub(crate) const NAME: &str = "daemonset-controller";
const TEMPLATE_GENERATION: &str = "pod-template-generation";

struct DaemonSetController {
    ctx: ControllerContext,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    expectations: Expectations,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(DaemonSetController {
        sets: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        nodes: ctx.informers.informer(),
        revisions: ctx.informers.informer(),
        expectations: Expectations::default(),
        ctx: ctx.clone(),
    });
    controller.pods.add_index(CONTROLLER_INDEX, by_controller);
    controller
        .revisions
        .add_index(CONTROLLER_INDEX, by_controller);
    let queue = ctx.queue("daemonset");
    queue_changes(&ctx, NAME, &controller.sets, &queue);
    watch_nodes(&ctx, &controller, &queue);
    watch_pods(&ctx, &controller, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.daemon_set,
        &queue,
        controller,
    );
}

/// A node concerns all sets, unless nothing changed but its status.
fn watch_nodes(
    ctx: &ControllerContext,
    controller: &Arc<DaemonSetController>,
    queue: &Workqueue<ObjectKey>,
) {
    let (sets, queue) = (controller.sets.store().clone(), queue.clone());
    on_events(ctx, NAME, &controller.nodes, move |event| {
        if let Event::Updated { old, new } = &event
            && old.labels() == new.labels()
            && old.spec == new.spec
        {
            return;
        }
        sets.keys().into_iter().for_each(|key| queue.add(key));
    });
}

fn watch_pods(
    ctx: &ControllerContext,
    controller: &Arc<DaemonSetController>,
    queue: &Workqueue<ObjectKey>,
) {
    let (this, queue) = (controller.clone(), queue.clone());
    let owner_of = {
        let sets = controller.sets.store().clone();
        move |pod: &Pod| {
            let owner = pod
                .controller_ref()
                .filter(|owner| owner.kind == DaemonSet::KIND)?;
            let set = sets.get(pod.namespace(), &owner.name)?;
            (set.uid() == owner.uid).then(|| set.key())
        }
    };
    on_events(ctx, NAME, &controller.pods, move |event| match event {
        Event::Resync => {
            this.expectations.clear();
            this.sets
                .store()
                .keys()
                .into_iter()
                .for_each(|key| queue.add(key));
        }
        Event::Added(pod) => match owner_of(&pod) {
            Some(owner) => {
                this.expectations.creation_observed(&owner);
                queue.add(owner);
            }
            None if pod.controller_ref().is_none() => {
                for set in this.sets.store().list_namespace(pod.namespace()) {
                    if set
                        .spec
                        .as_ref()
                        .is_some_and(|spec| selects(&spec.selector, pod.labels()))
                    {
                        queue.add(set.key());
                    }
                }
            }
            None => {}
        },
        Event::Updated { old, new } => {
            for owner in owner_of(&old).into_iter().chain(owner_of(&new)) {
                if new.is_being_deleted() {
                    this.expectations.deletion_observed(&owner, &new.key());
                }
                queue.add(owner);
            }
        }
        Event::Deleted(pod) => {
            if let Some(owner) = owner_of(&pod) {
                this.expectations.deletion_observed(&owner, &pod.key());
                queue.add(owner);
            }
        }
    });
}

#[async_trait]
impl Reconciler for DaemonSetController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.sets.has_synced().await;
        self.pods.has_synced().await;
        self.nodes.has_synced().await;
        self.revisions.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.store().get_key(key) else {
            self.expectations.forget(key);
            return Ok(Next::OnEvent);
        };
        let Some(spec) = &set.spec else {
            return Ok(Next::OnEvent);
        };
        if selects_everything(&spec.selector) {
            let message =
                "This daemon set is selecting all pods. A non-empty selector is required.";
            self.ctx
                .recorder
                .event(&*set, EventType::Warning, "SelectingAll", message);
            return Ok(Next::OnEvent);
        }
        let candidates = candidates(&*set, self.pods.store());
        let pods = claim_all(
            &self.api(&set),
            &self.pod_api(&set),
            &*set,
            &spec.selector,
            candidates,
            None,
        )
        .await?;
        let status = set.status.clone().unwrap_or_default();
        let known = self.revisions.store().by_index(CONTROLLER_INDEX, set.uid());
        let labels = spec
            .template
            .metadata
            .as_ref()
            .and_then(|metadata| metadata.labels.clone())
            .unwrap_or_default();
        let client = &self.ctx.client;
        let history = history::sync(
            client,
            &*set,
            (&labels, history::REVISION_LABEL),
            &spec.template,
            known,
            status.collision_count,
        )
        .await?;
        let hash = history
            .update
            .label(history::REVISION_LABEL)
            .unwrap_or_default()
            .to_owned();
        let mut plan = plan(
            &set,
            &hash,
            &self.nodes.store().list(),
            &pods,
            self.ctx.clock.now(),
        );
        plan.status.collision_count = history.collision_count;
        let acted = if self.expectations.satisfied(key) {
            for (kind, reason, message) in std::mem::take(&mut plan.events) {
                self.ctx.recorder.event(&*set, kind, reason, message);
            }
            self.act(&set, &hash, &plan.create, &plan.delete).await
        } else {
            Ok(())
        };
        if status != plan.status {
            let desired = DaemonSet {
                status: Some(plan.status),
                ..(*set).clone()
            };
            self.api(&set).update_status(&desired).await?;
        }
        acted?;
        let in_use = |revision: &ControllerRevision| {
            let own = revision.label(history::REVISION_LABEL);
            own == Some(&hash)
                || pods
                    .iter()
                    .any(|pod| pod.label(history::REVISION_LABEL) == own)
        };
        history::truncate(client, &history.all, in_use, spec.revision_history_limit).await?;
        let min_ready_seconds = spec.min_ready_seconds.unwrap_or_default();
        let next = pods::next_availability(&pods, min_ready_seconds, self.ctx.clock.now());
        Ok(next.map_or(Next::OnEvent, Next::After))
    }
}

impl DaemonSetController {
    fn api(&self, set: &DaemonSet) -> Api<DaemonSet> {
        self.ctx.client.api(set.namespace())
    }

    fn pod_api(&self, set: &DaemonSet) -> Api<Pod> {
        self.ctx.client.api(set.namespace())
    }

    async fn act(
        &self,
        set: &DaemonSet,
        hash: &str,
        create: &[String],
        delete: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let key = set.key();
        // Creations are expected first; deletions are added by what is left of the burst at the next sync.
        if !create.is_empty() {
            self.expectations.expect_creations(&key, create.len());
            let created = join_all(create.iter().map(|node| self.create(set, hash, node))).await;
            Error::aggregate(
                created
                    .into_iter()
                    .filter_map(Result::err)
                    .take(1)
                    .collect(),
            )?;
        } else if !delete.is_empty() {
            self.expectations
                .expect_deletions(&key, delete.iter().map(|pod| pod.key()));
        }
        let deleted = join_all(delete.iter().map(|pod| self.delete(set, pod))).await;
        Error::aggregate(
            deleted
                .into_iter()
                .filter_map(Result::err)
                .take(1)
                .collect(),
        )
    }

    async fn create(&self, set: &DaemonSet, hash: &str, node: &str) -> Result<(), Error> {
        let Some(spec) = &set.spec else { return Ok(()) };
        let mut pod =
            pods::from_template(&spec.template, set.name(), set.controller_owner_reference());
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(history::REVISION_LABEL.to_owned(), hash.to_owned());
        if let Some(generation) = set.annotation("deprecated.daemonset.template.generation") {
            labels.insert(TEMPLATE_GENERATION.to_owned(), generation.to_owned());
        }
        let pod_spec = pod.spec.get_or_insert_default();
        pod_spec.tolerations = Some(nodes::tolerations(pod_spec));
        nodes::pin(pod_spec, node);
        match self.pod_api(set).create(&pod).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name());
                self.ctx
                    .recorder
                    .event(set, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.creation_observed(&set.key());
                if error.is_namespace_terminating() {
                    return Ok(());
                }
                let message = format!("Error creating: {error}");
                self.ctx
                    .recorder
                    .event(set, EventType::Warning, "FailedCreate", message);
                Err(error.into())
            }
        }
    }

    async fn delete(&self, set: &DaemonSet, pod: &Pod) -> Result<(), Error> {
        let options = DeleteOptions::default().with_uid(pod.uid());
        match self.pod_api(set).delete(pod.name(), &options).await {
            Ok(()) => {
                let message = format!("Deleted pod: {}", pod.name());
                self.ctx
                    .recorder
                    .event(set, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(&set.key(), &pod.key());
                if error.is_not_found() || error.is_conflict() {
                    Ok(())
                } else {
                    Err(error.into())
                }
            }
        }
    }
}
