//! The Job controller: runs pods until enough of them have succeeded.
//!
//! [`plan`] decides.

mod backoff;
mod census;
mod conditions;
mod failure_policy;
mod indexes;
mod per_index;
mod plan;
mod success_policy;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use client::{
    Api, ApiError, DeleteOptionsExt as _, Event, EventType, Informer, Kind as _, Object as _,
    ObjectKey, Patch, Workqueue,
};
use futures_util::future::join_all;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::{EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use serde_json::json;

use crate::{
    context::ControllerContext,
    controller_ref::{CONTROLLER_INDEX, by_controller, candidates, claim_all},
    expectations::Expectations,
    pods,
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

use self::{
    census::{FINALIZER, INDEX_LABEL, has_finalizer, is_indexed},
    per_index::{FAILURES, IGNORED_FAILURES},
    plan::{NewPod, Plan, plan},
};

pub(crate) const NAME: &str = "job-controller";

/// How soon to look again when the informer is behind our own write; its event comes sooner as a rule.
const BEHIND: Duration = Duration::from_secs(1);

/// One life of a Job, and a version of it.
struct Version {
    uid: String,
    resource_version: u64,
}

fn version_of(job: &Job) -> u64 {
    // One that is no number is older than any.
    job.resource_version().parse().unwrap_or_default()
}

struct JobController {
    ctx: ControllerContext,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    expectations: Expectations,
    /// The version of each Job's status as it was last written.
    written: Mutex<HashMap<ObjectKey, Version>>,
    queue: Workqueue<ObjectKey>,
    /// Pods whose Job is gone and that still carry its finalizer.
    orphans: Workqueue<ObjectKey>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(JobController {
        jobs: ctx.informers.informer(),
        pods: ctx.informers.informer(),
        expectations: Expectations::default(),
        written: Mutex::default(),
        queue: ctx.queue("job"),
        orphans: ctx.queue("job_orphan_pod"),
        ctx: ctx.clone(),
    });
    controller.pods.add_index(CONTROLLER_INDEX, by_controller);
    watch_jobs(&ctx, &controller);
    watch_pods(&ctx, &controller);
    let (queue, orphans) = (controller.queue.clone(), controller.orphans.clone());
    run_workers(
        &ctx,
        NAME,
        1,
        &orphans,
        Arc::new(OrphanPods(controller.clone())),
    );
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.job,
        &queue,
        controller,
    );
}

fn watch_jobs(ctx: &ControllerContext, controller: &Arc<JobController>) {
    let this = controller.clone();
    on_events(ctx, NAME, &controller.jobs, move |event| match event {
        Event::Resync => this
            .jobs
            .store()
            .keys()
            .into_iter()
            .for_each(|key| this.queue.add(key)),
        Event::Added(job) | Event::Updated { new: job, .. } => this.queue.add(job.key()),
        Event::Deleted(job) => {
            this.expectations.forget(&job.key());
            for pod in this.pods.store().by_index(CONTROLLER_INDEX, job.uid()) {
                this.orphans.add(pod.key());
            }
        }
    });
}

fn watch_pods(ctx: &ControllerContext, controller: &Arc<JobController>) {
    let this = controller.clone();
    on_events(ctx, NAME, &controller.pods, move |event| match event {
        Event::Resync => {
            this.expectations.clear();
            this.jobs
                .store()
                .keys()
                .into_iter()
                .for_each(|key| this.queue.add(key));
            this.pods
                .store()
                .list()
                .iter()
                .for_each(|pod| this.observe(pod, |_| {}));
        }
        Event::Added(pod) => this.observe(&pod, |owner| this.expectations.creation_observed(owner)),
        Event::Updated { new: pod, .. } if pod.is_being_deleted() => {
            this.observe(&pod, |owner| {
                this.expectations.deletion_observed(owner, &pod.key())
            });
        }
        Event::Updated { old, new } => {
            if old.controller_ref() != new.controller_ref() {
                this.observe(&old, |_| {});
            }
            this.observe(&new, |_| {});
        }
        Event::Deleted(pod) => this.observe(&pod, |owner| {
            this.expectations.deletion_observed(owner, &pod.key())
        }),
    });
}

impl JobController {
    /// Calls the Job that controls a pod; a pod whose Job is gone is an orphan.
    fn observe(&self, pod: &Pod, seen: impl FnOnce(&ObjectKey)) {
        let Some(owner) = pod.controller_ref().filter(|owner| owner.kind == Job::KIND) else {
            return;
        };
        let key = ObjectKey::new(pod.namespace(), &owner.name);
        match self.jobs.store().get_key(&key) {
            Some(job) if job.uid() == owner.uid => {
                seen(&key);
                self.queue.add(key);
            }
            _ if has_finalizer(pod) => self.orphans.add(pod.key()),
            _ => {}
        }
    }

    fn pods(&self, namespace: &str) -> Api<Pod> {
        self.ctx.client.api(namespace)
    }

    async fn remove_finalizer(&self, pod: &Pod) -> Result<(), Error> {
        let patch = Patch::Strategic(json!({
            "metadata": { "uid": pod.uid(), "$deleteFromPrimitiveList/finalizers": [FINALIZER] }
        }));
        let patched = self.pods(pod.namespace()).patch(pod.name(), &patch).await;
        match patched {
            // A namesake: ours is gone.
            Err(error) if error.is_conflict() => Ok(()),
            patched => ApiError::not_found_is_none(patched)
                .map(drop)
                .map_err(Error::from),
        }
    }
}

struct OrphanPods(Arc<JobController>);

#[async_trait]
impl Reconciler for OrphanPods {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.0.synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(pod) = self
            .0
            .pods
            .store()
            .get_key(key)
            .filter(|pod| has_finalizer(pod))
        else {
            return Ok(Next::OnEvent);
        };
        if let Some(owner) = pod.controller_ref() {
            // The informer of Jobs may be behind: only the server knows.
            let job = self
                .0
                .ctx
                .client
                .api::<Job>(pod.namespace())
                .get_opt(&owner.name)
                .await?;
            if job.is_some_and(|job| job.uid() == owner.uid) {
                return Ok(Next::OnEvent);
            }
        }
        self.0.remove_finalizer(&pod).await?;
        Ok(Next::OnEvent)
    }
}

#[async_trait]
impl Reconciler for JobController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.jobs.has_synced().await;
        self.pods.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(job) = self.jobs.store().get_key(key) else {
            self.expectations.forget(key);
            self.written().remove(key);
            return Ok(Next::OnEvent);
        };
        if self.is_behind(key, &job) {
            return Ok(Next::After(BEHIND));
        }
        let managed_elsewhere = job
            .spec
            .as_ref()
            .and_then(|spec| spec.managed_by.as_deref())
            .is_some_and(|by| by != "kubernetes.io/job-controller");
        if managed_elsewhere || !self.expectations.satisfied(key) {
            return Ok(Next::OnEvent);
        }
        let Some(selector) = job.spec.as_ref().and_then(|spec| spec.selector.clone()) else {
            return Ok(Next::OnEvent);
        };
        let candidates = candidates(&*job, self.pods.store());
        let jobs = self.ctx.client.api::<Job>(job.namespace());
        let pods = claim_all(
            &jobs,
            &self.pods(job.namespace()),
            &*job,
            &selector,
            candidates,
            Some(FINALIZER),
        )
        .await?;
        let plan = plan(&job, &pods, self.ctx.clock.now());
        self.carry_out(&job, plan).await
    }
}

impl JobController {
    fn written(&self) -> MutexGuard<'_, HashMap<ObjectKey, Version>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the informer has not shown our last write of a Job's status. Pods may have been let go since, which then would count as never
    /// having been.
    fn is_behind(&self, key: &ObjectKey, job: &Job) -> bool {
        self.written().get(key).is_some_and(|written| {
            written.uid == job.uid() && version_of(job) < written.resource_version
        })
    }

    async fn carry_out(&self, job: &Job, plan: Plan) -> Result<Next, Error> {
        let key = job.key();
        let deletions = plan
            .withdraw
            .iter()
            .chain(&plan.terminate)
            .map(|pod| pod.key());
        self.expectations.expect_deletions(&key, deletions);
        let withdrawn = join_all(plan.withdraw.iter().map(|pod| self.delete(job, pod, true))).await;
        let terminated = join_all(
            plan.terminate
                .iter()
                .map(|pod| self.delete(job, pod, false)),
        )
        .await;
        let mut errors: Vec<Error> = withdrawn
            .into_iter()
            .chain(terminated)
            .filter_map(Result::err)
            .collect();
        if !plan.create.is_empty() {
            errors.extend(self.create_all(job, &plan.create).await.err());
        }
        if job.status.clone().unwrap_or_default() != plan.status {
            let desired = Job {
                status: Some(plan.status),
                ..job.clone()
            };
            let api = self.ctx.client.api::<Job>(job.namespace());
            let written = api.update_status(&desired).await?;
            let version = Version {
                uid: written.uid().to_owned(),
                resource_version: version_of(&written),
            };
            self.written().insert(key, version);
            for (kind, reason, message) in plan.events {
                self.ctx.recorder.event(job, kind, &reason, message);
            }
        }
        // Only now: what is noted is safe.
        let released = join_all(plan.release.iter().map(|pod| self.remove_finalizer(pod))).await;
        errors.extend(released.into_iter().filter_map(Result::err));
        Error::aggregate(errors)?;
        Ok(plan.recheck_after.map_or(Next::OnEvent, Next::After))
    }

    async fn delete(&self, job: &Job, pod: &Pod, uncounted: bool) -> Result<(), Error> {
        if uncounted {
            self.remove_finalizer(pod).await?;
        }
        let options = DeleteOptions::default().with_uid(pod.uid());
        match self
            .pods(pod.namespace())
            .delete(pod.name(), &options)
            .await
        {
            Ok(()) => {
                let message = format!("Deleted pod: {}", pod.name());
                self.ctx
                    .recorder
                    .event(job, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(&job.key(), &pod.key());
                if error.is_not_found() || error.is_conflict() {
                    Ok(())
                } else {
                    Err(error.into())
                }
            }
        }
    }

    /// Creates pods in batches that double, so that what the server refuses is not tried hundreds of times at once.
    async fn create_all(&self, job: &Job, pods: &[NewPod]) -> Result<(), Error> {
        let key = job.key();
        self.expectations.expect_creations(&key, pods.len());
        let (mut left, mut batch) = (pods, 1);
        while !left.is_empty() {
            let (now, later) = left.split_at(batch.min(left.len()));
            let results = join_all(now.iter().map(|pod| self.create(job, pod))).await;
            if let Some(error) = results.into_iter().find_map(Result::err) {
                later
                    .iter()
                    .for_each(|_| self.expectations.creation_observed(&key));
                return Err(error);
            }
            (left, batch) = (later, 2 * batch);
        }
        Ok(())
    }

    async fn create(&self, job: &Job, new: &NewPod) -> Result<(), Error> {
        let Some(spec) = &job.spec else { return Ok(()) };
        match self
            .pods(job.namespace())
            .create(&pod_of(job, spec, new))
            .await
        {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name());
                self.ctx
                    .recorder
                    .event(job, EventType::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) => {
                self.expectations.creation_observed(&job.key());
                if error.is_namespace_terminating() {
                    return Ok(());
                }
                let message = format!("Error creating: {error}");
                self.ctx
                    .recorder
                    .event(job, EventType::Warning, "FailedCreate", message);
                Err(error.into())
            }
        }
    }
}

/// The longest prefix of generated names: what is left of a label's 63 characters by the five random ones.
const MAX_PREFIX: usize = 58;

/// A pod of the Job's template, tracked, and with its index where it has one.
fn pod_of(job: &Job, spec: &JobSpec, new: &NewPod) -> Pod {
    let mut pod = pods::from_template(&spec.template, job.name(), job.controller_owner_reference());
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|known| known == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    let Some(index) = new.index.filter(|_| is_indexed(spec)) else {
        return pod;
    };
    let suffix = format!("-{index}-");
    let mut prefix = job.name().to_owned();
    prefix.truncate(MAX_PREFIX - suffix.len());
    pod.metadata.generate_name = Some(prefix + &suffix);
    for map in [&mut pod.metadata.labels, &mut pod.metadata.annotations] {
        map.get_or_insert_default()
            .insert(INDEX_LABEL.to_owned(), index.to_string());
    }
    if let Some(failures) = new.failures {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert(FAILURES.to_owned(), failures.counted.to_string());
        if failures.ignored > 0 {
            annotations.insert(IGNORED_FAILURES.to_owned(), failures.ignored.to_string());
        }
    }
    let pod_spec = pod.spec.get_or_insert_default();
    pod_spec.hostname = Some(format!("{}-{index}", job.name()));
    let variable = EnvVar {
        name: "JOB_COMPLETION_INDEX".to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector {
                api_version: None,
                field_path: format!("metadata.labels['{INDEX_LABEL}']"),
            }),
            ..EnvVarSource::default()
        }),
        value: None,
    };
    for container in pod_spec
        .init_containers
        .iter_mut()
        .flatten()
        .chain(&mut pod_spec.containers)
    {
        let environment = container.env.get_or_insert_default();
        if !environment.iter().any(|known| known.name == variable.name) {
            environment.push(variable.clone());
        }
    }
    pod
}
