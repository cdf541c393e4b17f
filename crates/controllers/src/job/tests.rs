//! Tables for the plan.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec, JobStatus},
        core::v1::{Pod, PodCondition, PodStatus},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::{Value, json};

use super::{
    census::{FINALIZER, INDEX_LABEL},
    conditions::{get, has, is_finished},
    per_index::{FAILURES, Failures},
    plan::{Plan, plan},
};

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
            annotations: index.map(|index| [(INDEX_LABEL.to_owned(), index.to_string())].into()),
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
    let created: Vec<Option<i32>> = plan.create.iter().map(|pod| pod.index).collect();
    assert_eq!(created, [Some(2), Some(3)]);
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

/// A Job whose spec is one with three indexes, and `fields`.
fn indexed(fields: &Value) -> Job {
    let mut spec = json!({
        "completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimit": i32::MAX,
        "selector": {}, "template": {},
    });
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    serde_json::from_value(json!({"metadata": {"name": "j", "namespace": "ns"}, "spec": spec}))
        .unwrap()
}

/// A pod that ended long ago, with an exit code.
fn exited(uid: &str, index: i32, code: i32, failures: u32) -> Arc<Pod> {
    let mut pod = Pod::clone(&pod(
        uid,
        if code == 0 { "Succeeded" } else { "Failed" },
        Some(index),
        true,
    ));
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(FAILURES.to_owned(), failures.to_string());
    let statuses = json!([{
        "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "finishedAt": "1970-01-01T00:00:00Z"}},
    }]);
    pod.metadata.namespace = Some("ns".to_owned());
    pod.status.as_mut().unwrap().container_statuses =
        Some(serde_json::from_value(statuses).unwrap());
    Arc::new(pod)
}

fn reason(plan: &Plan, condition: &str) -> String {
    let condition = get(&plan.status, condition);
    condition
        .and_then(|condition| condition.reason.clone())
        .unwrap_or_default()
}

#[test]
fn exit_codes_fail_a_job_or_are_ignored() {
    let policy = json!({"podFailurePolicy": {"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
        {"action": "FailIndex", "onExitCodes": {"operator": "NotIn", "values": [1, 42]}},
    ]}});
    let job = indexed(&policy);
    let fails = plan(
        &job,
        &[exited("a", 0, 42, 0), pod("b", "Running", Some(1), true)],
        at(1000),
    );
    assert_eq!(reason(&fails, "FailureTarget"), "PodFailurePolicy");
    assert_eq!(
        get(&fails.status, "FailureTarget")
            .unwrap()
            .message
            .as_deref(),
        Some(
            "Container main for pod ns/a failed with exit code 42 matching FailJob rule at index 1"
        )
    );
    assert_eq!(fails.terminate.len(), 1);
    let over = plan(&written(&job, &fails), &[], at(1001));
    assert_eq!(reason(&over, "Failed"), "PodFailurePolicy");
    assert_eq!(over.events[0].1, "PodFailurePolicy");

    // A disrupted pod is let go without being counted, and replaced.
    let mut disrupted = Pod::clone(&exited("a", 0, 137, 0));
    let condition = json!({"type": "DisruptionTarget", "status": "True"});
    let conditions = &mut disrupted.status.as_mut().unwrap().conditions;
    *conditions = Some(vec![serde_json::from_value(condition).unwrap()]);
    let ignored = plan(&job, &[Arc::new(disrupted)], at(1000));
    let notes = ignored.status.uncounted_terminated_pods.clone().unwrap();
    assert_eq!((ignored.release.len(), notes.failed), (1, None));
    assert_eq!(ignored.create.len(), 3);
}

#[test]
fn each_index_fails_for_itself() {
    let job = indexed(&json!({"backoffLimitPerIndex": 1}));
    // The first failure of an index: the pod waits for the one that replaces it.
    let first = [
        exited("a", 0, 1, 0),
        pod("b", "Running", Some(1), true),
        pod("c", "Running", Some(2), true),
    ];
    let early = plan(&job, &first, at(4));
    assert_eq!(
        (early.create.len(), early.recheck_after),
        (0, Some(Duration::from_secs(6)))
    );
    let replaced = plan(&job, &first, at(1000));
    assert!(replaced.release.is_empty());
    assert_eq!(replaced.create[0].index, Some(0));
    assert_eq!(
        replaced.create[0].failures,
        Some(Failures {
            counted: 1,
            ignored: 0
        })
    );
    assert_eq!(replaced.status.failed_indexes.as_deref(), Some(""));

    // The second one is one too many; the others go on.
    let second = [
        exited("d", 0, 1, 1),
        exited("b", 1, 0, 0),
        pod("c", "Running", Some(2), true),
    ];
    let failed = plan(&job, &second, at(1000));
    assert_eq!(failed.status.failed_indexes.as_deref(), Some("0"));
    assert_eq!(failed.status.completed_indexes.as_deref(), Some("1"));
    assert_eq!((failed.create.len(), failed.release.len()), (0, 2));
    assert!(!has(&failed.status, "FailureTarget"));
    let rest = plan(&written(&job, &failed), &[exited("c", 2, 0, 0)], at(1001));
    assert_eq!(reason(&rest, "FailureTarget"), "FailedIndexes");

    let strict = indexed(&json!({"backoffLimitPerIndex": 0, "maxFailedIndexes": 0}));
    let over = plan(&strict, &[exited("a", 0, 1, 0)], at(1000));
    assert_eq!(reason(&over, "FailureTarget"), "MaxFailedIndexesExceeded");
}

#[test]
fn an_index_may_be_failed_by_policy() {
    let job = indexed(
        &json!({"backoffLimitPerIndex": 5, "podFailurePolicy": {"rules": [
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [7]}},
        ]}}),
    );
    let plan = plan(&job, &[exited("a", 1, 7, 0)], at(1000));
    assert_eq!(plan.status.failed_indexes.as_deref(), Some("1"));
    let created: Vec<Option<i32>> = plan.create.iter().map(|pod| pod.index).collect();
    assert_eq!(created, [Some(0), Some(2)]);
}

#[test]
fn success_may_come_before_the_last_index() {
    let rules = json!({"successPolicy": {"rules": [
        {"succeededIndexes": "0,2"}, {"succeededIndexes": "0-2", "succeededCount": 2}, {"succeededCount": 3},
    ]}});
    let job = indexed(&rules);
    let running = pod("c", "Running", Some(2), true);
    let none = plan(&job, &[exited("a", 0, 0, 0), running.clone()], at(1000));
    assert!(!has(&none.status, "SuccessCriteriaMet"));
    let met = plan(
        &job,
        &[exited("a", 0, 0, 0), exited("b", 1, 0, 0), running],
        at(1000),
    );
    assert_eq!(reason(&met, "SuccessCriteriaMet"), "SuccessPolicy");
    let message = get(&met.status, "SuccessCriteriaMet")
        .unwrap()
        .message
        .clone();
    assert_eq!(message.as_deref(), Some("Matched rules at index 1"));
    // What still runs is not counted as failed.
    assert_eq!((met.withdraw.len(), met.terminate.len()), (1, 0));
    let done = plan(&written(&job, &met), &[], at(1001));
    assert_eq!(reason(&done, "Complete"), "SuccessPolicy");
    assert_eq!((done.status.succeeded, done.status.failed), (Some(2), None));
}

#[test]
fn doubles_and_strangers_are_withdrawn() {
    let job = indexed(&json!({}));
    let pods = [
        pod("a", "Running", Some(0), true),
        pod("b", "Pending", Some(0), true),
        pod("c", "Running", Some(3), true),
        pod("d", "Running", None, true),
    ];
    let plan = plan(&job, &pods, at(0));
    let mut gone: Vec<&str> = plan
        .withdraw
        .iter()
        .filter_map(|pod| pod.metadata.uid.as_deref())
        .collect();
    gone.sort_unstable();
    assert_eq!(gone, ["b", "c", "d"]);
}
