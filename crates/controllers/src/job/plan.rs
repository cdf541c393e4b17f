//! What a Job does next: `plan(job, pods, now)`. Pure.
//!
//! Counting must neither lose nor double an ended pod, whatever crashes when. So each pod carries a finalizer; an ended one is first noted
//! (in `status.uncountedTerminatedPods`, or by its index), then loses the finalizer, then is counted and its note dropped (KEP-2307). What the
//! end will be is written down first, as `FailureTarget` or `SuccessCriteriaMet`; the terminal condition comes when nothing is left to count
//! and no pod runs.

use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc, time::Duration};

use client::{EventType, Object as _};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec, JobStatus, UncountedTerminatedPods},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use crate::pods;

use super::{
    backoff,
    census::{Census, finished_at, has_finalizer, index_of, is_indexed, waits_for_end},
    conditions::{FAILURE_TARGET, SUCCESS_CRITERIA_MET, get, has, is_ending, is_finished, set},
    failure_policy::{Verdict, judge},
    indexes::{self, Indexes},
    per_index::{self, Failures},
    success_policy,
};

/// Pods created or deleted in one go.
const BURST: usize = 500;

/// A pod to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NewPod {
    /// Its completion index, if the Job is indexed.
    pub(super) index: Option<i32>,
    /// How often its index has failed, where each index has a limit.
    pub(super) failures: Option<Failures>,
}

/// What to do, in this order.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Pods to delete that do not count: they lose their finalizer first.
    pub(super) withdraw: Vec<Arc<Pod>>,
    /// Pods to delete that count as failed.
    pub(super) terminate: Vec<Arc<Pod>>,
    /// Pods to create.
    pub(super) create: Vec<NewPod>,
    /// The status as it should be.
    pub(super) status: JobStatus,
    /// Pods that lose their finalizer once the status is written.
    pub(super) release: Vec<Arc<Pod>>,
    /// What to tell: type, reason, message.
    pub(super) events: Vec<(EventType, String, String)>,
    pub(super) recheck_after: Option<Duration>,
}

impl Plan {
    fn tell(&mut self, kind: EventType, reason: &str, message: &str) {
        self.events
            .push((kind, reason.to_owned(), message.to_owned()));
    }

    fn recheck(&mut self, delay: Duration) {
        self.recheck_after = Some(self.recheck_after.map_or(delay, |known| known.min(delay)));
    }
}

/// A Job as it is now.
struct State<'a> {
    spec: &'a JobSpec,
    census: Census<'a>,
    /// Successes, noted ones included; of an indexed Job the number of its succeeded indexes.
    succeeded: i32,
    /// Failures that count, noted ones included.
    failed: i32,
    /// Of an indexed Job.
    succeeded_indexes: Indexes,
    /// Where each index has a limit of its own.
    failed_indexes: Option<Indexes>,
    /// Failed pods that wait for the one that takes their index on.
    awaiting_replacement: BTreeMap<i32, &'a Arc<Pod>>,
}

fn to_i32(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl<'a> State<'a> {
    fn of(spec: &'a JobSpec, status: &JobStatus, pods: &'a [Arc<Pod>]) -> Self {
        let census = Census::take(spec, pods);
        let notes = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (noted_well, noted_failed) = (
            notes.succeeded.unwrap_or_default(),
            notes.failed.unwrap_or_default(),
        );
        let is_new = |pod: &Pod, noted: &[String]| {
            has_finalizer(pod)
                && !noted.iter().any(|uid| uid == pod.uid())
                && (!is_indexed(spec) || index_of(spec, pod).is_some())
        };
        let failed = census
            .failed
            .iter()
            .filter(|pod| is_new(pod, &noted_failed) && judge(spec, pod).counts());
        let failed =
            to_i32(failed.count() + noted_failed.len()) + status.failed.unwrap_or_default();
        let well = census
            .succeeded
            .iter()
            .filter(|pod| is_new(pod, &noted_well) && is_new(pod, &noted_failed));
        let mut succeeded =
            to_i32(well.count() + noted_well.len()) + status.succeeded.unwrap_or_default();

        let mut state = Self {
            spec,
            succeeded_indexes: Indexes::new(),
            failed_indexes: None,
            awaiting_replacement: BTreeMap::new(),
            succeeded,
            failed,
            census,
        };
        if is_indexed(spec) {
            let noted = status.completed_indexes.as_deref().unwrap_or_default();
            let mut done = indexes::parse(noted, spec.completions.unwrap_or_default());
            let newly = state
                .census
                .succeeded
                .iter()
                .filter(|pod| has_finalizer(pod));
            done.extend(newly.filter_map(|pod| index_of(spec, pod)));
            succeeded = to_i32(done.len());
            state.succeeded = succeeded;
            if let Some(limit) = spec.backoff_limit_per_index {
                let failed = per_index::failed_indexes(spec, status, &state.census, limit);
                let settled = &done | &failed;
                state.awaiting_replacement =
                    per_index::awaiting_replacement(spec, &state.census, &settled);
                state.failed_indexes = Some(failed);
            }
            state.succeeded_indexes = done;
        }
        state
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
        plan.release = held(pods);
        return plan;
    }
    let suspended = spec.suspend.unwrap_or_default();
    if plan.status.start_time.is_none() && !suspended {
        plan.status.start_time = Some(Time(now));
    }
    let mut state = State::of(&spec, &plan.status, pods);
    decide_end(&mut plan, &state, pods, suspended, now);
    let ending = is_ending(&plan.status);
    if ending || job.is_being_deleted() {
        // Nobody will be replaced.
        state.awaiting_replacement.clear();
    }
    count(&mut plan, &state, pods);
    if job.is_being_deleted() {
        // The pods go as well, and nobody else lets go of them.
        let known: BTreeSet<String> = plan
            .release
            .iter()
            .map(|pod| pod.uid().to_owned())
            .collect();
        let rest = held(pods)
            .into_iter()
            .filter(|pod| !known.contains(pod.uid()));
        plan.release.extend(rest);
    }

    let mut active = state.census.active.len();
    if ending {
        let all: Vec<Arc<Pod>> = state
            .census
            .active
            .iter()
            .map(|pod| (*pod).clone())
            .collect();
        let failing = has(&plan.status, FAILURE_TARGET);
        *(if failing {
            &mut plan.terminate
        } else {
            &mut plan.withdraw
        }) = all;
        active = 0;
        let quiet = state.census.active.is_empty() && state.census.terminating.is_empty();
        let notes = plan.status.uncounted_terminated_pods.as_ref();
        let settled = notes.is_none_or(|notes| notes.succeeded.is_none() && notes.failed.is_none());
        // What was released just now is counted at the next look.
        if quiet && settled && plan.release.is_empty() {
            end(&mut plan, &state, now);
        }
    } else if suspended {
        plan.withdraw = state
            .census
            .active
            .iter()
            .map(|pod| (*pod).clone())
            .collect();
        active = 0;
        suspend(&mut plan, now);
    } else {
        resume(&mut plan, now);
        if !job.is_being_deleted() {
            manage(&mut plan, &state, now);
        }
        active = active - plan.withdraw.len() + plan.create.len();
    }
    let nonzero = |count: i32| (count != 0).then_some(count);
    plan.status.active = nonzero(to_i32(active));
    let going = |pod: &Pod| {
        let mut leaving = plan.withdraw.iter().chain(&plan.terminate);
        leaving.any(|leaving| leaving.uid() == pod.uid())
    };
    let ready = state
        .census
        .active
        .iter()
        .filter(|pod| pods::is_ready(pod) && !going(pod));
    plan.status.ready = Some(to_i32(ready.count()));
    let leaving = plan.withdraw.len() + plan.terminate.len();
    plan.status.terminating = Some(to_i32(state.census.terminating.len() + leaving));
    if is_indexed(&spec) {
        plan.status.succeeded = nonzero(state.succeeded);
        plan.status.completed_indexes =
            Some(indexes::format(&state.succeeded_indexes)).filter(|text| !text.is_empty());
        plan.status.failed_indexes = state.failed_indexes.as_ref().map(indexes::format);
    }
    plan
}

/// The pods that still are to be counted.
fn held(pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    pods.iter()
        .filter(|pod| has_finalizer(pod))
        .cloned()
        .collect()
}

fn suspend(plan: &mut Plan, now: Timestamp) {
    if !has(&plan.status, "Suspended") {
        set(
            &mut plan.status,
            "Suspended",
            "True",
            "JobSuspended",
            "Job suspended",
            now,
        );
        plan.tell(EventType::Normal, "Suspended", "Job suspended");
        plan.status.start_time = None;
    }
}

fn resume(plan: &mut Plan, now: Timestamp) {
    if has(&plan.status, "Suspended") {
        set(
            &mut plan.status,
            "Suspended",
            "False",
            "JobResumed",
            "Job resumed",
            now,
        );
        plan.tell(EventType::Normal, "Resumed", "Job resumed");
        // The deadline counts from the resumption.
        plan.status.start_time = Some(Time(now));
    }
}

/// Counts what is noted and has lost its finalizer; notes what has ended and is not.
fn count(plan: &mut Plan, state: &State<'_>, pods: &[Arc<Pod>]) {
    let spec = state.spec;
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
    let settle = |noted: Option<Vec<String>>, counter: &mut Option<i32>| -> Vec<String> {
        let (noted, settled): (Vec<String>, Vec<String>) = noted
            .unwrap_or_default()
            .into_iter()
            .partition(|uid| still_held.contains(uid.as_str()));
        if !settled.is_empty() {
            let sum = counter
                .unwrap_or_default()
                .saturating_add(to_i32(settled.len()));
            *counter = Some(sum);
        }
        noted
    };
    let mut succeeded = settle(notes.succeeded, &mut plan.status.succeeded);
    let mut failed = settle(notes.failed, &mut plan.status.failed);

    let note = |uids: &mut Vec<String>, pod: &Pod| {
        if !uids.iter().any(|uid| uid == pod.uid()) {
            uids.push(pod.uid().to_owned());
        }
    };
    let ended = |pods: &[&Arc<Pod>]| -> Vec<Arc<Pod>> {
        let held = pods.iter().filter(|pod| has_finalizer(pod));
        held.take(BURST).map(|pod| Arc::clone(pod)).collect()
    };
    for pod in ended(&state.census.succeeded) {
        // What was noted as failed stays so, even if it succeeded in the end. An index is note enough of itself.
        if !is_indexed(spec) && !failed.iter().any(|uid| uid == pod.uid()) {
            note(&mut succeeded, &pod);
        }
        plan.release.push(pod);
    }
    for pod in ended(&state.census.failed) {
        let mut waiting = state.awaiting_replacement.values();
        if waiting.any(|waiting| waiting.uid() == pod.uid()) {
            continue;
        }
        let valid = !is_indexed(spec) || index_of(spec, &pod).is_some();
        if valid && judge(spec, &pod).counts() {
            note(&mut failed, &pod);
        }
        plan.release.push(pod);
    }
    let some = |uids: Vec<String>| (!uids.is_empty()).then_some(uids);
    plan.status.uncounted_terminated_pods = Some(UncountedTerminatedPods {
        succeeded: some(succeeded),
        failed: some(failed),
    });
}

/// Decides whether the Job has reached its end; what is decided stands.
fn decide_end(
    plan: &mut Plan,
    state: &State<'_>,
    pods: &[Arc<Pod>],
    suspended: bool,
    now: Timestamp,
) {
    if is_ending(&plan.status) {
        return;
    }
    if let Some((kind, reason, message)) = verdict(plan, state, pods, suspended, now) {
        set(&mut plan.status, kind, "True", reason, &message, now);
    }
}

/// The end that the Job has come to: the condition's type, reason and message. Failures before successes, as upstream.
fn verdict(
    plan: &mut Plan,
    state: &State<'_>,
    pods: &[Arc<Pod>],
    suspended: bool,
    now: Timestamp,
) -> Option<(&'static str, &'static str, String)> {
    let spec = state.spec;
    let fails = |reason, message: &str| Some((FAILURE_TARGET, reason, message.to_owned()));
    let mut failed = pods.iter().filter(|pod| {
        let leaving = pod.is_being_deleted() && !waits_for_end(spec);
        pods::phase(pod) == "Failed" || (leaving && pods::phase(pod) != "Succeeded")
    });
    let failing_pod = failed.find_map(|pod| match judge(spec, pod) {
        Verdict::FailJob(message) => Some(message),
        _ => None,
    });
    if let Some(message) = failing_pod {
        return fails("PodFailurePolicy", &message);
    }
    let limit = spec.backoff_limit.unwrap_or(6);
    if state.failed > limit || restarts_exceed(spec, &state.census, limit) {
        return fails(
            "BackoffLimitExceeded",
            "Job has reached the specified backoff limit",
        );
    }
    if let (Some(deadline), false) = (spec.active_deadline_seconds, suspended) {
        let started = plan.status.start_time.as_ref().map_or(now, |time| time.0);
        // A resumed Job starts anew.
        let started = if has(&plan.status, "Suspended") {
            now
        } else {
            started
        };
        let left = deadline - now.duration_since(started).as_secs();
        match u64::try_from(left) {
            Ok(left) if left > 0 => plan.recheck(Duration::from_secs(left)),
            _ => {
                return fails(
                    "DeadlineExceeded",
                    "Job was active longer than specified deadline",
                );
            }
        }
    }
    if let Some(failed) = &state.failed_indexes {
        let count = to_i32(failed.len());
        if spec.max_failed_indexes.is_some_and(|most| count > most) {
            return fails(
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
            );
        }
        if count > 0 && count + state.succeeded >= spec.completions.unwrap_or_default() {
            return fails("FailedIndexes", "Job has failed indexes");
        }
    }
    if is_indexed(spec)
        && let Some(message) = success_policy::met(spec, &state.succeeded_indexes)
    {
        return Some((SUCCESS_CRITERIA_MET, "SuccessPolicy", message));
    }
    let complete = match spec.completions {
        // A work queue: one success says that there is no more work, the others may finish what they have.
        None => state.succeeded > 0 && (suspended || state.census.active.is_empty()),
        Some(completions) => state.succeeded >= completions,
    };
    let message = "Reached expected number of succeeded pods";
    complete.then(|| {
        (
            SUCCESS_CRITERIA_MET,
            "CompletionsReached",
            message.to_owned(),
        )
    })
}

/// With `restartPolicy: OnFailure` failures are restarts of containers, not ends of pods.
fn restarts_exceed(spec: &JobSpec, census: &Census<'_>, limit: i32) -> bool {
    let template = spec.template.spec.as_ref();
    if template.and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
        return false;
    }
    let statuses = census.active.iter().filter_map(|pod| pod.status.as_ref());
    let restarts: i32 = statuses
        .flat_map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            init.chain(status.container_statuses.iter().flatten())
        })
        .map(|container| container.restart_count)
        .sum();
    if limit == 0 {
        restarts > 0
    } else {
        restarts >= limit
    }
}

/// Adds the terminal condition.
fn end(plan: &mut Plan, state: &State<'_>, now: Timestamp) {
    let copied = |status: &JobStatus, kind: &str| {
        get(status, kind)
            .filter(|target| target.status == "True")
            .map(|target| {
                (
                    target.reason.clone().unwrap_or_default(),
                    target.message.clone().unwrap_or_default(),
                )
            })
    };
    if let Some((reason, message)) = copied(&plan.status, SUCCESS_CRITERIA_MET) {
        set(&mut plan.status, "Complete", "True", &reason, &message, now);
        plan.status.completion_time = Some(Time(now));
        if state
            .spec
            .completions
            .is_some_and(|wanted| state.succeeded > wanted)
        {
            let message = "Too many succeeded pods running after completion count reached";
            plan.tell(EventType::Warning, "TooManySucceededPods", message);
        }
        plan.tell(EventType::Normal, "Completed", "Job completed");
    } else if let Some((reason, message)) = copied(&plan.status, FAILURE_TARGET) {
        set(&mut plan.status, "Failed", "True", &reason, &message, now);
        plan.tell(EventType::Warning, &reason, &message);
    }
}

/// Brings the number of active pods to what is wanted now.
fn manage(plan: &mut Plan, state: &State<'_>, now: Timestamp) {
    let (spec, census) = (state.spec, &state.census);
    let to_usize = |count: i32| usize::try_from(count).unwrap_or_default();
    let parallelism = to_usize(spec.parallelism.unwrap_or(1));
    let active = census.active.len();
    let wanted = match spec.completions {
        None if state.succeeded > 0 => active,
        None => parallelism,
        Some(completions) => to_usize(completions - state.succeeded).min(parallelism),
    };
    plan.withdraw = census.surplus(spec, wanted);
    plan.withdraw.truncate(BURST);
    if !plan.withdraw.is_empty() {
        return;
    }
    let leaving = if waits_for_end(spec) {
        census.terminating.len()
    } else {
        0
    };
    let missing = wanted.saturating_sub(active + leaving).min(BURST);
    if missing == 0 {
        return;
    }
    let limit_per_index = state.failed_indexes.as_ref();
    if limit_per_index.is_none()
        && let Some(delay) = backoff::remaining_of_job(census, now)
    {
        plan.recheck(delay);
        return;
    }
    if !is_indexed(spec) {
        plan.create = vec![NewPod::default(); missing];
        return;
    }
    let occupied = census.occupied(spec);
    let free = (0..spec.completions.unwrap_or_default()).filter(|index| {
        !state.succeeded_indexes.contains(index)
            && !occupied.contains(index)
            && limit_per_index.is_none_or(|failed| !failed.contains(index))
    });
    for index in free.take(missing) {
        let before = state.awaiting_replacement.get(&index);
        let failures = limit_per_index.map(|_| {
            before
                .map(|pod| Failures::after(spec, pod))
                .unwrap_or_default()
        });
        let delay = before.zip(failures).and_then(|(pod, failures)| {
            backoff::remaining(failures.total(), finished_at(pod)?, now)
        });
        match delay {
            Some(delay) => plan.recheck(delay),
            None => plan.create.push(NewPod {
                index: Some(index),
                failures,
            }),
        }
    }
}
