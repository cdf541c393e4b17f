//! What a Job does next: `plan(job, pods, now)`. Pure.
//!
//! Counting must neither lose nor double an ended pod, whatever crashes when. So each pod carries a finalizer; an ended one is first noted in
//! `status.uncountedTerminatedPods`, then loses the finalizer, then is counted and its note dropped (KEP-2307). The terminal
//! condition comes when nothing is left to count and no pod runs.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use client::{EventType, Object as _};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobSpec, JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::pods;

use super::indexes::{self, Indexes};

pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX_LABEL: &str = "batch.kubernetes.io/job-completion-index";
/// Pods created or deleted in one go.
const BURST: usize = 500;
/// Delay after the first failure of a row; it doubles with each one, up to [`MAX_BACKOFF`].
const BACKOFF: i64 = 10;
const MAX_BACKOFF: i64 = 600;

/// What to do, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Pods to delete that do not count: they lose their finalizer first.
    pub(super) withdraw: Vec<Arc<Pod>>,
    /// Pods to delete that count as failed.
    pub(super) terminate: Vec<Arc<Pod>>,
    /// Pods to create, with their completion index if the Job is indexed.
    pub(super) create: Vec<Option<i32>>,
    /// The status as it should be.
    pub(super) status: JobStatus,
    /// Pods that lose their finalizer once the status is written.
    pub(super) release: Vec<Arc<Pod>>,
    /// What to tell.
    pub(super) events: Vec<(EventType, &'static str, String)>,
    pub(super) recheck_after: Option<Duration>,
}

/// Whether it has ended, well or not.
pub(super) fn is_finished(status: &JobStatus) -> bool {
    has(status, "Complete") || has(status, "Failed")
}

pub(super) fn has_finalizer(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|finalizer| finalizer == FINALIZER)
}

pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

fn get<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
}

fn has(status: &JobStatus, kind: &str) -> bool {
    get(status, kind).is_some_and(|condition| condition.status == "True")
}

fn set(
    status: &mut JobStatus,
    kind: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != kind);
    conditions.push(JobCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotation(INDEX_LABEL)
        .or_else(|| pod.label(INDEX_LABEL))?
        .parse()
        .ok()
}

/// A Job's pods, sorted by what they are to it.
struct Census<'a> {
    active: Vec<&'a Arc<Pod>>,
    terminating: Vec<&'a Arc<Pod>>,
    succeeded: Vec<&'a Arc<Pod>>,
    failed: Vec<&'a Arc<Pod>>,
}

impl<'a> Census<'a> {
    fn take(spec: &JobSpec, pods: &'a [Arc<Pod>]) -> Self {
        // By default a pod on its way out is replaced at once, and therefore has failed at once.
        let wait_for_end = spec.pod_replacement_policy.as_deref() == Some("Failed");
        let mut census = Self {
            active: Vec::new(),
            terminating: Vec::new(),
            succeeded: Vec::new(),
            failed: Vec::new(),
        };
        for pod in pods {
            match pods::phase(pod) {
                "Succeeded" => census.succeeded.push(pod),
                "Failed" => census.failed.push(pod),
                _ if pod.is_being_deleted() => {
                    census.terminating.push(pod);
                    if !wait_for_end {
                        census.failed.push(pod);
                    }
                }
                _ => census.active.push(pod),
            }
        }
        census
    }
}

/// Plans the next step of a Job from the pods it controls.
pub(super) fn plan(job: &Job, pods: &[Arc<Pod>], now: Timestamp) -> Plan {
    let spec = job.spec.clone().unwrap_or_default();
    let mut plan = Plan {
        status: job.status.clone().unwrap_or_default(),
        ..Plan::default()
    };
    if is_finished(&plan.status) {
        plan.release = pods
            .iter()
            .filter(|pod| has_finalizer(pod))
            .cloned()
            .collect();
        return plan;
    }
    let suspended = spec.suspend.unwrap_or_default();
    if plan.status.start_time.is_none() && !suspended {
        plan.status.start_time = Some(Time(now));
    }
    let census = Census::take(&spec, pods);
    let mut completed = indexes::parse(
        plan.status
            .completed_indexes
            .as_deref()
            .filter(|_| is_indexed(&spec))
            .unwrap_or_default(),
    );
    if is_indexed(&spec) {
        let completions = spec.completions.unwrap_or_default();
        let done = census.succeeded.iter().filter_map(|pod| index_of(pod));
        completed.extend(done.filter(|index| (0..completions).contains(index)));
    }
    count(&mut plan, &census, pods);
    let uncounted = plan
        .status
        .uncounted_terminated_pods
        .clone()
        .unwrap_or_default();
    let noted = |uids: &Option<Vec<String>>| uids.as_ref().map_or(0, Vec::len);
    let to_i32 = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let failed = plan.status.failed.unwrap_or_default() + to_i32(noted(&uncounted.failed));
    let succeeded = if is_indexed(&spec) {
        to_i32(completed.len())
    } else {
        plan.status.succeeded.unwrap_or_default() + to_i32(noted(&uncounted.succeeded))
    };

    decide_end(&mut plan, &spec, &census, succeeded, failed, now);
    let mut active = census.active.len();
    if has(&plan.status, "FailureTarget") || has(&plan.status, "SuccessCriteriaMet") {
        plan.terminate = census.active.iter().map(|pod| (*pod).clone()).collect();
        active = 0;
        let quiet = census.active.is_empty() && census.terminating.is_empty();
        if quiet && noted(&uncounted.failed) + noted(&uncounted.succeeded) == 0 {
            end(&mut plan, now);
        }
    } else if suspended {
        plan.withdraw = census.active.iter().map(|pod| (*pod).clone()).collect();
        active = 0;
        if !has(&plan.status, "Suspended") {
            set(
                &mut plan.status,
                "Suspended",
                "True",
                "JobSuspended",
                "Job suspended",
                now,
            );
            plan.events
                .push((EventType::Normal, "Suspended", "Job suspended".to_owned()));
        }
    } else {
        if has(&plan.status, "Suspended") {
            set(
                &mut plan.status,
                "Suspended",
                "False",
                "JobResumed",
                "Job resumed",
                now,
            );
            plan.events
                .push((EventType::Normal, "Resumed", "Job resumed".to_owned()));
            // The deadline counts from the resumption.
            plan.status.start_time = Some(Time(now));
        }
        manage(&mut plan, &spec, &census, &completed, succeeded, now);
        active = active - plan.withdraw.len() + plan.create.len();
    }
    let nonzero = |count: i32| (count != 0).then_some(count);
    plan.status.active = nonzero(to_i32(active));
    plan.status.ready = Some(to_i32(
        census
            .active
            .iter()
            .filter(|pod| pods::is_ready(pod))
            .count(),
    ));
    plan.status.terminating = Some(to_i32(census.terminating.len()));
    if is_indexed(&spec) {
        plan.status.succeeded = nonzero(succeeded);
        plan.status.completed_indexes =
            Some(indexes::format(&completed)).filter(|text| !text.is_empty());
    }
    plan
}

/// Counts what is noted and has lost its finalizer; notes what has ended and is not.
fn count(plan: &mut Plan, census: &Census<'_>, pods: &[Arc<Pod>]) {
    let still_held: BTreeSet<&str> = pods
        .iter()
        .filter(|pod| has_finalizer(pod))
        .map(|pod| pod.uid())
        .collect();
    let notes = plan
        .status
        .uncounted_terminated_pods
        .take()
        .unwrap_or_default();
    let mut settle =
        |noted: Option<Vec<String>>, ended: &[&Arc<Pod>], counter: &mut Option<i32>| {
            let (mut noted, settled): (Vec<String>, Vec<String>) = noted
                .unwrap_or_default()
                .into_iter()
                .partition(|uid| still_held.contains(uid.as_str()));
            if !settled.is_empty() {
                let counted = i32::try_from(settled.len()).unwrap_or(i32::MAX);
                *counter = Some(counter.unwrap_or_default().saturating_add(counted));
            }
            for pod in ended.iter().filter(|pod| has_finalizer(pod)).take(BURST) {
                if !noted.iter().any(|uid| uid == pod.uid()) {
                    noted.push(pod.uid().to_owned());
                }
                plan.release.push((*pod).clone());
            }
            (!noted.is_empty()).then_some(noted)
        };
    let succeeded = settle(
        notes.succeeded,
        &census.succeeded,
        &mut plan.status.succeeded,
    );
    // What was noted as failed stays so, even if it succeeded in the end.
    let failed = settle(notes.failed, &census.failed, &mut plan.status.failed);
    plan.status.uncounted_terminated_pods = Some(UncountedTerminatedPods { succeeded, failed });
}

/// Decides whether the Job has reached its end; what is decided stands.
fn decide_end(
    plan: &mut Plan,
    spec: &JobSpec,
    census: &Census<'_>,
    succeeded: i32,
    failed: i32,
    now: Timestamp,
) {
    if has(&plan.status, "FailureTarget") || has(&plan.status, "SuccessCriteriaMet") {
        return;
    }
    let started = plan.status.start_time.as_ref().map_or(now, |time| time.0);
    let suspended = spec.suspend.unwrap_or_default();
    let left = spec
        .active_deadline_seconds
        .filter(|_| !suspended)
        .map(|deadline| deadline - now.duration_since(started).as_secs());
    let limit = spec.backoff_limit.unwrap_or(6);
    if failed > limit || restarts_exceed(spec, census, limit) {
        let message = "Job has reached the specified backoff limit";
        set(
            &mut plan.status,
            "FailureTarget",
            "True",
            "BackoffLimitExceeded",
            message,
            now,
        );
    } else if left.is_some_and(|left| left <= 0) {
        let message = "Job was active longer than specified deadline";
        set(
            &mut plan.status,
            "FailureTarget",
            "True",
            "DeadlineExceeded",
            message,
            now,
        );
    } else if is_complete(spec, census, succeeded) {
        let message = "Reached expected number of succeeded pods";
        set(
            &mut plan.status,
            "SuccessCriteriaMet",
            "True",
            "CompletionsReached",
            message,
            now,
        );
    } else if let Some(left) = left {
        plan.recheck_after = u64::try_from(left).ok().map(Duration::from_secs);
    }
}

/// With `restartPolicy: OnFailure` failures are restarts of containers, not ends of pods.
fn restarts_exceed(spec: &JobSpec, census: &Census<'_>, limit: i32) -> bool {
    let policy = spec
        .template
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    if policy != Some("OnFailure") {
        return false;
    }
    let restarts: i32 = census
        .active
        .iter()
        .filter_map(|pod| pod.status.as_ref())
        .flat_map(|status| {
            status
                .init_container_statuses
                .iter()
                .flatten()
                .chain(status.container_statuses.iter().flatten())
        })
        .map(|container| container.restart_count)
        .sum();
    if limit == 0 {
        restarts > 0
    } else {
        restarts >= limit
    }
}

fn is_complete(spec: &JobSpec, census: &Census<'_>, succeeded: i32) -> bool {
    match spec.completions {
        // A work queue: one success says that there is no more work, the others may finish what they have.
        None => succeeded > 0 && census.active.is_empty(),
        Some(completions) => succeeded >= completions,
    }
}

/// Adds the terminal condition.
fn end(plan: &mut Plan, now: Timestamp) {
    let copied = |status: &JobStatus, kind: &str| {
        get(status, kind).map(|target| {
            (
                target.reason.clone().unwrap_or_default(),
                target.message.clone().unwrap_or_default(),
            )
        })
    };
    if let Some((reason, message)) = copied(&plan.status, "FailureTarget") {
        set(&mut plan.status, "Failed", "True", &reason, &message, now);
        let reason = if reason == "DeadlineExceeded" {
            "DeadlineExceeded"
        } else {
            "BackoffLimitExceeded"
        };
        plan.events.push((EventType::Warning, reason, message));
    } else if let Some((reason, message)) = copied(&plan.status, "SuccessCriteriaMet") {
        set(&mut plan.status, "Complete", "True", &reason, &message, now);
        plan.status.completion_time = Some(Time(now));
        plan.events
            .push((EventType::Normal, "Completed", "Job completed".to_owned()));
    }
}

/// Brings the number of active pods to what is wanted now.
fn manage(
    plan: &mut Plan,
    spec: &JobSpec,
    census: &Census<'_>,
    completed: &Indexes,
    succeeded: i32,
    now: Timestamp,
) {
    let to_usize = |count: i32| usize::try_from(count).unwrap_or_default();
    let parallelism = to_usize(spec.parallelism.unwrap_or(1));
    let active = census.active.len();
    let wanted = match spec.completions {
        None if succeeded > 0 => active.min(parallelism),
        None => parallelism,
        Some(completions) => to_usize(completions - succeeded).min(parallelism),
    };
    if active > wanted {
        let mut surplus = census.active.clone();
        // Those that have come least far go first.
        surplus.sort_by_key(|pod| {
            let created = pod.metadata.creation_timestamp.clone();
            (
                pods::is_ready(pod),
                pods::phase(pod) == "Running",
                std::cmp::Reverse(created),
            )
        });
        plan.withdraw = surplus
            .into_iter()
            .take((active - wanted).min(BURST))
            .cloned()
            .collect();
        return;
    }
    let waits = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let occupied = active + if waits { census.terminating.len() } else { 0 };
    let missing = wanted.saturating_sub(occupied).min(BURST);
    if missing == 0 {
        return;
    }
    if let Some(delay) = backoff(census, now) {
        plan.recheck_after = Some(
            plan.recheck_after
                .map_or(delay, |recheck| recheck.min(delay)),
        );
        return;
    }
    if is_indexed(spec) {
        let running: Indexes = census
            .active
            .iter()
            .chain(census.terminating.iter().filter(|_| waits))
            .filter_map(|pod| index_of(pod))
            .collect();
        let completions = spec.completions.unwrap_or_default();
        let free =
            (0..completions).filter(|index| !completed.contains(index) && !running.contains(index));
        plan.create = free.take(missing).map(Some).collect();
    } else {
        plan.create = vec![None; missing];
    }
}

/// How long to wait after failures in a row, by when the last one was.
fn backoff(census: &Census<'_>, now: Timestamp) -> Option<Duration> {
    let last_success = census
        .succeeded
        .iter()
        .filter_map(|pod| finished_at(pod))
        .max();
    let failures: Vec<Timestamp> = census
        .failed
        .iter()
        .filter_map(|pod| finished_at(pod))
        .filter(|time| last_success.is_none_or(|success| *time > success))
        .collect();
    let last = failures.iter().max()?;
    let exponent = u32::try_from(failures.len() - 1)
        .unwrap_or(u32::MAX)
        .min(10);
    let delay = (BACKOFF << exponent).min(MAX_BACKOFF);
    let until = last
        .checked_add(SignedDuration::from_secs(delay))
        .unwrap_or(Timestamp::MAX);
    (until > now).then(|| until.duration_since(now).unsigned_abs())
}

/// When a pod ended: its last container, or as good as known otherwise.
fn finished_at(pod: &Pod) -> Option<Timestamp> {
    let containers = pod
        .status
        .iter()
        .flat_map(|status| status.container_statuses.iter().flatten());
    let ends = containers.filter_map(|container| {
        Some(
            container
                .state
                .as_ref()?
                .terminated
                .as_ref()?
                .finished_at
                .as_ref()?
                .0,
        )
    });
    let ready_changed =
        pods::condition(pod, "Ready").and_then(|ready| ready.last_transition_time.as_ref());
    ends.max()
        .or_else(|| ready_changed.map(|time| time.0))
        .or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::core::v1::{PodCondition, PodStatus},
        apimachinery::pkg::apis::meta::v1::ObjectMeta,
    };

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn job(parallelism: i32, completions: Option<i32>) -> Job {
        let spec = JobSpec {
            parallelism: Some(parallelism),
            completions,
            backoff_limit: Some(2),
            ..JobSpec::default()
        };
        Job {
            spec: Some(spec),
            ..Job::default()
        }
    }

    fn pod(uid: &str, phase: &str, index: Option<i32>, held: bool) -> Arc<Pod> {
        let ended = PodCondition {
            type_: "Ready".to_owned(),
            status: "False".to_owned(),
            last_transition_time: Some(Time(at(0))),
            ..PodCondition::default()
        };
        Arc::new(Pod {
            metadata: ObjectMeta {
                name: Some(uid.to_owned()),
                uid: Some(uid.to_owned()),
                finalizers: held.then(|| vec![FINALIZER.to_owned()]),
                annotations: index
                    .map(|index| [(INDEX_LABEL.to_owned(), index.to_string())].into()),
                ..ObjectMeta::default()
            },
            status: Some(PodStatus {
                phase: Some(phase.to_owned()),
                conditions: Some(vec![ended]),
                ..PodStatus::default()
            }),
            ..Pod::default()
        })
    }

    /// The Job with the planned status written.
    fn written(job: &Job, plan: &Plan) -> Job {
        Job {
            status: Some(plan.status.clone()),
            ..job.clone()
        }
    }

    #[test]
    fn a_job_runs_to_completion() {
        let job = job(2, Some(3));
        let first = plan(&job, &[], at(0));
        assert_eq!((first.create.len(), first.status.active), (2, Some(2)));
        let job = written(&job, &first);

        // One has ended: noted, not counted yet, and replaced.
        let pods = [
            pod("a", "Succeeded", None, true),
            pod("b", "Running", None, true),
        ];
        let noted = plan(&job, &pods, at(1));
        assert_eq!(
            (
                noted.release.len(),
                noted.create.len(),
                noted.status.succeeded
            ),
            (1, 1, None)
        );
        let job = written(&job, &noted);
        // A crash before the release: the same again.
        let again = plan(&job, &pods, at(1));
        assert_eq!((again.release.len(), &again.status), (1, &noted.status));

        let pods = [
            pod("a", "Succeeded", None, false),
            pod("b", "Succeeded", None, true),
            pod("c", "Succeeded", None, true),
        ];
        let counted = plan(&job, &pods, at(2));
        assert_eq!(
            (counted.status.succeeded, counted.create.len()),
            (Some(1), 0)
        );
        assert!(has(&counted.status, "SuccessCriteriaMet") && !is_finished(&counted.status));
        let job = written(&job, &counted);
        let done = plan(&job, &[], at(3));
        assert_eq!(done.status.succeeded, Some(3));
        assert!(has(&done.status, "Complete") && done.status.completion_time.is_some());
        assert_eq!(done.events[0].1, "Completed");
    }

    #[test]
    fn failures_back_off_and_end_it() {
        let mut job = job(1, Some(1));
        let one = [pod("a", "Failed", None, true)];
        let waits = plan(&job, &one, at(4));
        assert_eq!(
            (waits.create.len(), waits.recheck_after),
            (0, Some(Duration::from_secs(6)))
        );
        assert_eq!(plan(&job, &one, at(10)).create.len(), 1);

        job.status = Some(JobStatus {
            failed: Some(2),
            ..JobStatus::default()
        });
        let last = [
            pod("c", "Failed", None, true),
            pod("d", "Running", None, true),
        ];
        let over = plan(&job, &last, at(100));
        assert_eq!(
            get(&over.status, "FailureTarget")
                .unwrap()
                .reason
                .as_deref(),
            Some("BackoffLimitExceeded")
        );
        assert_eq!(over.terminate.len(), 1);
        let failed = plan(&written(&job, &over), &[], at(101));
        assert!(has(&failed.status, "Failed"));
        assert_eq!(failed.status.failed, Some(3));
    }

    #[test]
    fn indexes_are_each_run_once() {
        let mut job = job(3, Some(4));
        job.spec.as_mut().unwrap().completion_mode = Some("Indexed".to_owned());
        let pods = [
            pod("a", "Succeeded", Some(1), true),
            pod("b", "Running", Some(0), true),
        ];
        let plan = plan(&job, &pods, at(0));
        assert_eq!(plan.create, [Some(2), Some(3)]);
        assert_eq!(
            (
                plan.status.completed_indexes.as_deref(),
                plan.status.succeeded
            ),
            (Some("1"), Some(1))
        );
    }

    #[test]
    fn suspension_withdraws_and_deadlines_end() {
        let mut job = job(1, Some(1));
        job.spec.as_mut().unwrap().suspend = Some(true);
        let pods = [pod("a", "Running", None, true)];
        let suspended = plan(&job, &pods, at(0));
        assert_eq!(
            (suspended.withdraw.len(), suspended.status.active),
            (1, None)
        );
        assert!(has(&suspended.status, "Suspended"));

        job = written(&job, &suspended);
        job.spec.as_mut().unwrap().suspend = Some(false);
        job.spec.as_mut().unwrap().active_deadline_seconds = Some(30);
        let resumed = plan(&job, &[], at(50));
        assert_eq!(
            (resumed.create.len(), resumed.recheck_after),
            (1, Some(Duration::from_secs(30)))
        );
        let over = plan(&written(&job, &resumed), &pods, at(80));
        assert_eq!(
            get(&over.status, "FailureTarget")
                .unwrap()
                .reason
                .as_deref(),
            Some("DeadlineExceeded")
        );
    }

    #[test]
    fn a_work_queue_ends_with_its_workers() {
        let job = job(2, None);
        let pods = [
            pod("a", "Succeeded", None, true),
            pod("b", "Running", None, true),
        ];
        let winding_down = plan(&job, &pods, at(0));
        assert_eq!(winding_down.create.len(), 0);
        assert!(!has(&winding_down.status, "SuccessCriteriaMet"));
        let pods = [
            pod("a", "Succeeded", None, false),
            pod("b", "Succeeded", None, true),
        ];
        let done = plan(&written(&job, &winding_down), &pods, at(1));
        assert!(has(&done.status, "SuccessCriteriaMet"));
    }
}
