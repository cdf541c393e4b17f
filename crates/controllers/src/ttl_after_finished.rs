//! The TTL-after-finished controller: Jobs with `ttlSecondsAfterFinished` are deleted, with their pods, so long after their end.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use client::{ApiError, DeleteOptionsExt as _, Informer, Object as _, ObjectKey};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::batch::v1::Job, apimachinery::pkg::apis::meta::v1::DeleteOptions};

use crate::{
    context::ControllerContext,
    reconcile::{Error, Next, Reconciler, queue_changes, run_workers},
};

pub(crate) const NAME: &str = "ttl-after-finished-controller";

struct TtlAfterFinished {
    ctx: ControllerContext,
    jobs: Informer<Job>,
}

pub(crate) fn start(ctx: ControllerContext) {
    let controller = Arc::new(TtlAfterFinished {
        jobs: ctx.informers.informer(),
        ctx: ctx.clone(),
    });
    let queue = ctx.queue("ttl_jobs_to_delete");
    queue_changes(&ctx, NAME, &controller.jobs, &queue);
    run_workers(
        &ctx,
        NAME,
        ctx.config.concurrent_syncs.ttl_after_finished,
        &queue,
        controller,
    );
}

/// When a Job is to be deleted, if it ever is.
fn expires_at(job: &Job) -> Option<Timestamp> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let ended = conditions.iter().find(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })?;
    let at = ended.last_transition_time.as_ref()?.0;
    at.checked_add(SignedDuration::from_secs(ttl.into())).ok()
}

#[async_trait]
impl Reconciler for TtlAfterFinished {
    type Key = ObjectKey;

    async fn synced(&self) {
        self.jobs.has_synced().await;
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let now = self.ctx.clock.now();
        let due = |job: &Job| expires_at(job).filter(|_| !job.is_being_deleted());
        let Some(at) = self.jobs.store().get_key(key).and_then(|job| due(&job)) else {
            return Ok(Next::OnEvent);
        };
        if at > now {
            return Ok(Next::After(
                at.duration_since(now)
                    .unsigned_abs()
                    .max(Duration::from_millis(10)),
            ));
        }
        // Fresh: the TTL may just have been raised.
        let api = self.ctx.client.api::<Job>(&key.namespace);
        let Some(job) = api
            .get_opt(&key.name)
            .await?
            .filter(|job| due(job).is_some_and(|at| at <= now))
        else {
            return Ok(Next::OnEvent);
        };
        let options = DeleteOptions::propagation("Foreground")
            .with_uid(job.uid())
            .with_resource_version(job.resource_version());
        ApiError::not_found_is_none(api.delete(job.name(), &options).await)?;
        Ok(Next::OnEvent)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::batch::v1::{JobCondition, JobSpec, JobStatus},
        apimachinery::pkg::apis::meta::v1::Time,
    };

    use super::*;

    #[test]
    fn a_job_expires_after_its_end() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut job = Job {
            spec: Some(JobSpec {
                ttl_seconds_after_finished: Some(60),
                ..JobSpec::default()
            }),
            ..Job::default()
        };
        assert_eq!(expires_at(&job), None, "it runs");
        let ended = JobCondition {
            type_: "Failed".to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(at(100))),
            ..JobCondition::default()
        };
        job.status = Some(JobStatus {
            conditions: Some(vec![ended]),
            ..JobStatus::default()
        });
        assert_eq!(expires_at(&job), Some(at(160)));
        job.spec.as_mut().unwrap().ttl_seconds_after_finished = None;
        assert_eq!(expires_at(&job), None);
    }
}
