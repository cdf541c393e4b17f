//! The CronJob controller: Jobs by the clock.
//!
//! [`plan`] decides; what it must know past the caches (whether a Job that seems lost is, whether one that seems foreign was noted down just
//! now) is read before.

mod plan;
mod times;

use std::{collections::HashSet, sync::Arc};

use api::kinds::batch::cron::Schedule;
use async_trait::async_trait;
use client::{
    Api, ApiError, DeleteOptionsExt as _, Event, EventType, Informer, Kind as _, Object as _,
    ObjectKey, Workqueue,
};
use k8s_openapi::{
    api::batch::v1::{CronJob, CronJobStatus, Job},
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};

use crate::{
    context::ControllerContext,
    controller_ref::{CONTROLLER_INDEX, by_controller},
    reconcile::{Error, Next, Reconciler, on_events, run_workers},
};

use self::{
    plan::{Plan, View, finished, is_active, note_created, plan, remove_active},
    times::{Times, local_time_zone, time_zone},
};

pub(crate) const NAME: &str = "cronjob-controller";

struct CronJobController {
    ctx: ControllerContext,
    cron_jobs: Informer<CronJob>,
    jobs: Informer<Job>,
    queue: Workqueue<ObjectKey>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(CronJobController {
        cron_jobs: ctx.informers.informer(),
        jobs: ctx.informers.informer(),
        queue: ctx.queue("cronjob"),
        ctx: ctx.clone(),
    });
    controller.jobs.add_index(CONTROLLER_INDEX, by_controller);
    watch_cron_jobs(&ctx, &controller);
    watch_jobs(&ctx, &controller);
    let queue = controller.queue.clone();
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.cron_job,
        &queue,
        controller,
    );
}

fn watch_cron_jobs(ctx: &ControllerContext, controller: &Arc<CronJobController>) {
    let this = controller.clone();
    on_events(ctx, NAME, &controller.cron_jobs, move |event| match event {
        Event::Resync => this.queue_all(),
        Event::Updated { old, new } if schedule_of(&old) != schedule_of(&new) => {
            // What the new schedule would have missed is not made up for.
            this.queue_at_next_time(&new);
        }
        Event::Added(cron_job) | Event::Updated { new: cron_job, .. } => {
            this.queue.add(cron_job.key());
        }
        Event::Deleted(_) => {}
    });
}

fn watch_jobs(ctx: &ControllerContext, controller: &Arc<CronJobController>) {
    let this = controller.clone();
    on_events(ctx, NAME, &controller.jobs, move |event| match event {
        Event::Resync => this.queue_all(),
        Event::Updated { old, new } => {
            if old.controller_ref() != new.controller_ref() {
                this.queue_owner(&old);
            }
            this.queue_owner(&new);
        }
        Event::Added(job) | Event::Deleted(job) => this.queue_owner(&job),
    });
}

fn schedule_of(cron_job: &CronJob) -> (&str, Option<&str>) {
    let spec = &cron_job.spec;
    (&spec.schedule, spec.time_zone.as_deref())
}

impl CronJobController {
    fn queue_all(&self) {
        for key in self.cron_jobs.store().keys() {
            self.queue.add(key);
        }
    }

    fn queue_owner(&self, job: &Job) {
        if let Some(owner) = job
            .controller_ref()
            .filter(|owner| owner.kind == CronJob::KIND)
        {
            self.queue.add(ObjectKey::new(job.namespace(), &owner.name));
        }
    }

    fn queue_at_next_time(&self, cron_job: &CronJob) {
        let (schedule, zone) = schedule_of(cron_job);
        let Ok(schedule) = Schedule::parse(schedule) else {
            let message = format!("unparseable schedule for cronjob: {schedule}");
            self.ctx.recorder.event(
                cron_job,
                EventType::Warning,
                "UnParseableCronJobSchedule",
                message,
            );
            return;
        };
        let zone = zone.and_then(time_zone).unwrap_or_else(local_time_zone);
        let times = Times {
            cron_job,
            schedule: &schedule,
            zone: &zone,
            now: self.ctx.clock.now(),
        };
        if let Some(wait) = times.until_next() {
            self.queue.add_after(cron_job.key(), wait);
        }
    }

    fn jobs_api(&self, namespace: &str) -> Api<Job> {
        self.ctx.client.api(namespace)
    }
}

#[async_trait]
impl Reconciler for CronJobController {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.cron_jobs.has_synced().await;
        self.jobs.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(cached) = self.cron_jobs.store().get_key(key) else {
            return Ok(Next::OnEvent);
        };
        let jobs = self.jobs.store().by_index(CONTROLLER_INDEX, cached.uid());
        let empty = CronJobStatus::default();
        let noted = cached.status.as_ref().unwrap_or(&empty);
        let unknown = |job: &Arc<Job>| finished(job).is_none() && !is_active(noted, job.uid());
        let cron_job = if jobs.iter().any(unknown) {
            // The informer may not have seen our own note yet.
            let fresh = self.ctx.client.api::<CronJob>(&key.namespace);
            match fresh.get_opt(&key.name).await? {
                Some(fresh) if fresh.uid() == cached.uid() => Arc::new(fresh),
                _ => return Ok(Next::OnEvent),
            }
        } else {
            cached
        };
        let missing = self.missing(&cron_job, &jobs).await?;
        let view = View {
            cron_job: &cron_job,
            jobs: &jobs,
            missing: &missing,
        };
        let plan = plan(&view, self.ctx.clock.now());
        // Boxed: two whole Jobs are on their way in it.
        Box::pin(self.carry_out(&cron_job, plan)).await
    }
}

impl CronJobController {
    /// The uids of Jobs noted as active that neither the informer nor the server has.
    async fn missing(
        &self,
        cron_job: &CronJob,
        jobs: &[Arc<Job>],
    ) -> Result<HashSet<String>, Error> {
        let mut missing = HashSet::new();
        let status = cron_job.status.as_ref();
        for noted in status
            .iter()
            .flat_map(|status| status.active.iter().flatten())
        {
            let uid = noted.uid.clone().unwrap_or_default();
            if jobs.iter().any(|job| job.uid() == uid) {
                continue;
            }
            let name = noted.name.as_deref().unwrap_or_default();
            if self
                .jobs_api(cron_job.namespace())
                .get_opt(name)
                .await?
                .is_none()
            {
                missing.insert(uid);
            }
        }
        Ok(missing)
    }

    async fn carry_out(&self, cron_job: &CronJob, plan: Plan) -> Result<Next, Error> {
        let mut status = plan.status;
        for job in &plan.forget {
            // What cannot be deleted now is found again.
            let _ = self.delete(cron_job, job.name()).await;
        }
        for (kind, reason, message) in plan.events {
            self.ctx.recorder.event(cron_job, kind, reason, message);
        }
        let started = self
            .start_job(cron_job, &plan.replace, plan.create, &mut status)
            .await;
        if cron_job.status.clone().unwrap_or_default() != status {
            let desired = CronJob {
                status: Some(status),
                ..cron_job.clone()
            };
            let api = self.ctx.client.api::<CronJob>(cron_job.namespace());
            api.update_status(&desired).await?;
        }
        started?;
        Ok(plan.next.map_or(Next::OnEvent, Next::After))
    }

    /// Deletes what is to be replaced, creates what is due, and notes both in `status`.
    async fn start_job(
        &self,
        cron_job: &CronJob,
        replace: &[k8s_openapi::api::core::v1::ObjectReference],
        create: Option<(Job, jiff::Timestamp)>,
        status: &mut CronJobStatus,
    ) -> Result<(), Error> {
        let Some((job, due)) = create else {
            return Ok(());
        };
        for running in replace {
            let name = running.name.as_deref().unwrap_or_default();
            self.delete(cron_job, name).await?;
            remove_active(status, running.uid.as_deref().unwrap_or_default());
        }
        let event = |kind, reason, message: String| {
            self.ctx.recorder.event(cron_job, kind, reason, message);
        };
        let jobs = self.jobs_api(cron_job.namespace());
        let made = match jobs.create(&job).await {
            Ok(made) => {
                let message = format!("Created job {}", made.name());
                event(EventType::Normal, "SuccessfulCreate", message);
                made
            }
            Err(error) if error.is_already_exists() => {
                // Ours, if we fell between creating it and noting it down.
                let known = jobs.get(job.name()).await?;
                let ours = known
                    .controller_ref()
                    .is_some_and(|owner| owner.uid == cron_job.uid());
                if !ours || is_active(status, known.uid()) {
                    return Ok(());
                }
                known
            }
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => {
                let message = format!("Error creating job: {error}");
                event(EventType::Warning, "FailedCreate", message);
                return Err(error.into());
            }
        };
        note_created(status, &made, due);
        Ok(())
    }

    async fn delete(&self, cron_job: &CronJob, name: &str) -> Result<(), Error> {
        let options = DeleteOptions::propagation("Background");
        let deleted = self
            .jobs_api(cron_job.namespace())
            .delete(name, &options)
            .await;
        let (kind, reason, message) = match &deleted {
            Ok(()) => (
                EventType::Normal,
                "SuccessfulDelete",
                format!("Deleted job {name}"),
            ),
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => (
                EventType::Warning,
                "FailedDelete",
                format!("Deleted job: {error}"),
            ),
        };
        self.ctx.recorder.event(cron_job, kind, reason, message);
        Ok(ApiError::not_found_is_none(deleted).map(drop)?)
    }
}
