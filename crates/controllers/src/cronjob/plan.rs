//! What a CronJob does now: `plan(view, now)`. Pure.
//!
//! A Job is named after the minute that it is for, so that whoever crashes between creating it and noting it down does not create it twice.

use std::{collections::HashSet, sync::Arc, time::Duration};

use api::kinds::batch::cron::Schedule;
use client::{EventType, Kind as _, Labels, Object as _, reference};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use super::times::{Times, local_time_zone, time_zone};

/// The annotation of a Job with the time that it is for.
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// What is known of a CronJob.
pub(super) struct View<'a> {
    pub(super) cron_job: &'a CronJob,
    /// The Jobs that it controls.
    pub(super) jobs: &'a [Arc<Job>],
    /// The uids of Jobs that its status calls active and that are no more.
    pub(super) missing: &'a HashSet<String>,
}

/// What to do, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Finished Jobs beyond what its history holds.
    pub(super) forget: Vec<Arc<Job>>,
    /// What to tell.
    pub(super) events: Vec<(EventType, &'static str, String)>,
    /// Jobs that still run and make place for the new one.
    pub(super) replace: Vec<ObjectReference>,
    /// The Job to create, and the time that it is for.
    pub(super) create: Option<(Job, Timestamp)>,
    /// The status, but for what becomes of `create` and `replace`.
    pub(super) status: CronJobStatus,
    /// When to look again.
    pub(super) next: Option<Duration>,
}

/// How a Job has ended, if it has.
pub(super) fn finished(job: &Job) -> Option<&str> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.type_.as_str())
        .find(|kind| matches!(*kind, "Complete" | "Failed"))
}

/// Whether the status calls a Job active.
pub(super) fn is_active(status: &CronJobStatus, uid: &str) -> bool {
    let mut active = status.active.iter().flatten();
    active.any(|job| job.uid.as_deref() == Some(uid))
}

/// Takes a Job off the list of active ones.
pub(super) fn remove_active(status: &mut CronJobStatus, uid: &str) {
    if let Some(active) = &mut status.active {
        active.retain(|job| job.uid.as_deref() != Some(uid));
        if active.is_empty() {
            status.active = None;
        }
    }
}

/// Plans the next step of a CronJob.
pub(super) fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let mut plan = Plan {
        status: view.cron_job.status.clone().unwrap_or_default(),
        ..Plan::default()
    };
    let spec = &view.cron_job.spec;
    plan.forget = beyond_history(spec, view.jobs);
    for job in &plan.forget {
        remove_active(&mut plan.status, job.uid());
    }
    account(&mut plan, view);
    if !view.cron_job.is_being_deleted() {
        schedule(&mut plan, view, spec, now);
    }
    plan
}

/// The oldest finished Jobs beyond the limits, by when they started.
fn beyond_history(spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let mut beyond = Vec::new();
    for (kind, limit) in [
        ("Complete", spec.successful_jobs_history_limit),
        ("Failed", spec.failed_jobs_history_limit),
    ] {
        let Some(limit) = limit else { continue };
        let mut ended: Vec<&Arc<Job>> = jobs
            .iter()
            .filter(|job| finished(job) == Some(kind) && !job.is_being_deleted())
            .collect();
        // Those that never started are the newest.
        ended.sort_by_key(|job| {
            let start = job
                .status
                .as_ref()
                .and_then(|status| status.start_time.clone());
            (start.is_none(), start, job.name().to_owned())
        });
        let surplus = ended
            .len()
            .saturating_sub(usize::try_from(limit).unwrap_or_default());
        beyond.extend(ended.into_iter().take(surplus).cloned());
    }
    beyond
}

/// Brings the list of active Jobs, and the time of the last success, up to date.
fn account(plan: &mut Plan, view: &View<'_>) {
    for job in view.jobs {
        let active = is_active(&plan.status, job.uid());
        match finished(job) {
            None if !active => {
                let message = format!(
                    "Saw a job that the controller did not create or forgot: {}",
                    job.name()
                );
                plan.events
                    .push((EventType::Warning, "UnexpectedJob", message));
            }
            None => {}
            Some(condition) => {
                if active {
                    remove_active(&mut plan.status, job.uid());
                    let message =
                        format!("Saw completed job: {}, condition: {condition}", job.name());
                    plan.events
                        .push((EventType::Normal, "SawCompletedJob", message));
                }
                let ended = job
                    .status
                    .as_ref()
                    .and_then(|status| status.completion_time.clone());
                if condition == "Complete" && ended > plan.status.last_successful_time {
                    plan.status.last_successful_time = ended;
                }
            }
        }
    }
    for job in plan.status.active.clone().into_iter().flatten() {
        let uid = job.uid.unwrap_or_default();
        if view.missing.contains(&uid) {
            remove_active(&mut plan.status, &uid);
            let message = format!("Active job went missing: {}", job.name.unwrap_or_default());
            plan.events.push((EventType::Normal, "MissingJob", message));
        }
    }
}

/// Decides whether a Job is due.
fn schedule(plan: &mut Plan, view: &View<'_>, spec: &CronJobSpec, now: Timestamp) {
    let zone = match &spec.time_zone {
        None => local_time_zone(),
        Some(name) => match time_zone(name) {
            Some(zone) => zone,
            None => {
                let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
                plan.events
                    .push((EventType::Warning, "UnknownTimeZone", message));
                return;
            }
        },
    };
    if spec.suspend == Some(true) {
        return;
    }
    let parsed = match Schedule::parse(&spec.schedule) {
        Ok(parsed) => parsed,
        Err(complaint) => {
            let message = format!("unparseable schedule: {:?} : {complaint}", spec.schedule);
            plan.events
                .push((EventType::Warning, "UnparseableSchedule", message));
            return;
        }
    };
    let times = Times {
        cron_job: view.cron_job,
        schedule: &parsed,
        zone: &zone,
        now,
    };
    let missed = match times.missed(true) {
        Ok(missed) => missed,
        Err(complaint) => {
            let message = format!("invalid schedule: {} : {complaint}", spec.schedule);
            plan.events
                .push((EventType::Warning, "InvalidSchedule", message));
            return;
        }
    };
    plan.next = times.until_next();
    let Some(due) = missed.last else { return };
    if missed.many {
        let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.events
            .push((EventType::Warning, "TooManyMissedTimes", message.to_owned()));
    }
    let latest = spec
        .starting_deadline_seconds
        .and_then(|seconds| due.checked_add(SignedDuration::from_secs(seconds)).ok());
    if latest.is_some_and(|latest| latest < now) {
        let message = format!(
            "Missed scheduled time to start a job: {}",
            due.strftime("%a, %d %b %Y %H:%M:%S +0000")
        );
        plan.events
            .push((EventType::Warning, "MissSchedule", message));
        return;
    }
    let name = job_name(view.cron_job, due);
    let active = plan.status.active.clone().unwrap_or_default();
    let done = plan.status.last_schedule_time.as_ref().map(|time| time.0) == Some(due);
    if done || active.iter().any(|job| job.name.as_deref() == Some(&name)) {
        return;
    }
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.events
                .push((EventType::Normal, "JobAlreadyActive", message.to_owned()));
            return;
        }
        Some("Replace") => plan.replace = active,
        _ => {}
    }
    plan.create = Some((job_for(view.cron_job, spec, name, due, &zone), due));
}

fn job_name(cron_job: &CronJob, due: Timestamp) -> String {
    format!("{}-{}", cron_job.name(), due.as_second() / 60)
}

/// The Job of the template for one time.
fn job_for(
    cron_job: &CronJob,
    spec: &CronJobSpec,
    name: String,
    due: Timestamp,
    zone: &TimeZone,
) -> Job {
    let template = spec.job_template.metadata.clone().unwrap_or_default();
    let local = due.to_zoned(zone.clone());
    let written = if local.offset().is_zero() {
        local.strftime("%Y-%m-%dT%H:%M:%SZ")
    } else {
        local.strftime("%Y-%m-%dT%H:%M:%S%:z")
    };
    let mut annotations: Labels = template.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_AT.to_owned(), written.to_string());
    Job {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(cron_job.namespace().to_owned()),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![cron_job.controller_owner_reference()]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

/// Notes down that a Job was created for `due`.
pub(super) fn note_created(status: &mut CronJobStatus, job: &Job, due: Timestamp) {
    status.active.get_or_insert_default().push(reference(job));
    status.last_schedule_time = Some(Time(due));
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cron_job(policy: &str) -> CronJob {
        CronJob {
            metadata: ObjectMeta {
                name: Some("tick".to_owned()),
                namespace: Some("default".to_owned()),
                uid: Some("cron-uid".to_owned()),
                creation_timestamp: Some(Time(at("2026-01-01T10:00:30Z"))),
                ..ObjectMeta::default()
            },
            spec: CronJobSpec {
                schedule: "* * * * *".to_owned(),
                time_zone: Some("Asia/Tokyo".to_owned()),
                concurrency_policy: Some(policy.to_owned()),
                successful_jobs_history_limit: Some(1),
                failed_jobs_history_limit: Some(1),
                ..CronJobSpec::default()
            },
            status: None,
        }
    }

    fn job(name: &str, ended: Option<(&str, &str)>) -> Arc<Job> {
        let status = ended.map(|(kind, time)| JobStatus {
            start_time: Some(Time(at(time))),
            completion_time: (kind == "Complete").then(|| Time(at(time))),
            conditions: Some(vec![JobCondition {
                type_: kind.to_owned(),
                status: "True".to_owned(),
                ..JobCondition::default()
            }]),
            ..JobStatus::default()
        });
        Arc::new(Job {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                uid: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            spec: None,
            status,
        })
    }

    fn planned(cron_job: &CronJob, jobs: &[Arc<Job>], missing: &[&str], now: &str) -> Plan {
        let missing = missing.iter().map(|uid| (*uid).to_owned()).collect();
        let view = View {
            cron_job,
            jobs,
            missing: &missing,
        };
        plan(&view, at(now))
    }

    fn reasons(plan: &Plan) -> Vec<&str> {
        plan.events.iter().map(|event| event.1).collect()
    }

    #[test]
    fn a_job_a_minute() {
        let mut cron_job = cron_job("Allow");
        assert!(
            planned(&cron_job, &[], &[], "2026-01-01T10:00:59Z")
                .create
                .is_none()
        );
        let first = planned(&cron_job, &[], &[], "2026-01-01T10:01:00.1Z");
        let (made, due) = first.create.unwrap();
        assert_eq!(made.name(), "tick-29454361");
        assert_eq!(
            made.annotation(SCHEDULED_AT),
            Some("2026-01-01T19:01:00+09:00")
        );
        assert_eq!(first.next, Some(Duration::from_secs(60)));

        let mut status = first.status;
        note_created(&mut status, &made, due);
        cron_job.status = Some(status);
        assert!(
            planned(&cron_job, &[], &[], "2026-01-01T10:01:59Z")
                .create
                .is_none()
        );
        assert!(
            planned(&cron_job, &[], &[], "2026-01-01T10:02:00Z")
                .create
                .is_some()
        );
        cron_job.spec.suspend = Some(true);
        assert!(
            planned(&cron_job, &[], &[], "2026-01-01T10:02:00Z")
                .create
                .is_none()
        );
    }

    #[test]
    fn concurrency() {
        for (policy, creates, replaces) in [
            ("Allow", true, 0),
            ("Forbid", false, 0),
            ("Replace", true, 1),
        ] {
            let mut cron_job = cron_job(policy);
            let running = job("running", None);
            let mut status = CronJobStatus::default();
            note_created(&mut status, &running, at("2026-01-01T10:01:00Z"));
            cron_job.status = Some(status);
            let plan = planned(&cron_job, &[running], &[], "2026-01-01T10:02:01Z");
            assert_eq!(
                (plan.create.is_some(), plan.replace.len()),
                (creates, replaces),
                "{policy}"
            );
            assert_eq!(reasons(&plan) == ["JobAlreadyActive"], policy == "Forbid");
        }
    }

    #[test]
    fn what_ends_is_noted_and_forgotten() {
        let mut cron_job = cron_job("Allow");
        let jobs = [
            job("a", Some(("Complete", "2026-01-01T10:01:10Z"))),
            job("b", Some(("Complete", "2026-01-01T10:02:10Z"))),
            job("c", Some(("Failed", "2026-01-01T10:03:10Z"))),
            job("stranger", None),
        ];
        let mut status = CronJobStatus::default();
        for name in ["b", "c", "lost"] {
            note_created(&mut status, &job(name, None), at("2026-01-01T10:03:00Z"));
        }
        cron_job.status = Some(status);
        let plan = planned(&cron_job, &jobs, &["lost"], "2026-01-01T10:03:30Z");
        let forgotten: Vec<&str> = plan.forget.iter().map(|job| job.name()).collect();
        assert_eq!(forgotten, ["a"]);
        assert_eq!(plan.status.active, None);
        assert_eq!(
            plan.status.last_successful_time,
            Some(Time(at("2026-01-01T10:02:10Z")))
        );
        assert_eq!(
            reasons(&plan),
            [
                "SawCompletedJob",
                "SawCompletedJob",
                "UnexpectedJob",
                "MissingJob"
            ]
        );
    }

    #[test]
    fn a_deadline_is_kept() {
        let mut cron_job = cron_job("Allow");
        cron_job.spec.schedule = "0 * * * *".to_owned();
        assert!(
            planned(&cron_job, &[], &[], "2026-01-01T11:30:00Z")
                .create
                .is_some()
        );
        cron_job.spec.starting_deadline_seconds = Some(600);
        let late = planned(&cron_job, &[], &[], "2026-01-01T11:30:00Z");
        assert!(late.create.is_none() && late.events.is_empty());
        assert_eq!(late.next, Some(Duration::from_millis(1_800_100)));
    }
}
