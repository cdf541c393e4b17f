//! CronJobs, and Jobs with policies.

use client::{Api, Object as _, Patch, Store};
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::Pod,
};
use serde_json::{Value, json};

use crate::{decode, harness::ControlPlane};

fn template() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}})
}

/// Ends a pod: its container with this exit code.
async fn end(pods: &Api<Pod>, name: &str, code: i32) {
    let phase = if code == 0 { "Succeeded" } else { "Failed" };
    let status = json!({"status": {"phase": phase, "containerStatuses": [{
        "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": {"terminated": {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z"}},
    }]}});
    pods.patch_status(name, &Patch::Strategic(status))
        .await
        .unwrap();
}

fn condition(store: &Store<Job>, name: &str, kind: &str) -> Option<String> {
    let job = store.get("default", name)?;
    let conditions = job.status.as_ref()?.conditions.clone()?;
    let found = conditions
        .into_iter()
        .find(|condition| condition.type_ == kind && condition.status == "True")?;
    found.reason.or(Some(String::new()))
}

/// The running pods of an index.
fn running(store: &Store<Pod>, index: &str) -> Vec<String> {
    let of_index = |pod: &Pod| {
        pod.label("batch.kubernetes.io/job-completion-index") == Some(index)
            && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
    };
    let pods = store.list_namespace("default");
    let found = pods.iter().filter(|pod| of_index(pod));
    found.map(|pod| pod.name().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cron_job_makes_jobs_and_keeps_count() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let cron_job: CronJob = decode(&json!({"metadata": {"name": "tick"}, "spec": {
        "schedule": "@every 1s", "jobTemplate": {"spec": {"template": template()}},
    }}));
    let api = plane.client.api::<CronJob>("default");
    api.create(&cron_job).await.unwrap();
    plane
        .wait::<CronJob>("an active job", |store| {
            let status = store.get("default", "tick").and_then(|c| c.status.clone());
            status.is_some_and(|s| s.active.is_some() && s.last_schedule_time.is_some())
        })
        .await;
    let suspend = Patch::Strategic(json!({"spec": {"suspend": true}}));
    api.patch("tick", &suspend).await.unwrap();
    plane
        .wait::<Pod>("its pod runs", |store| {
            store
                .list_namespace("default")
                .iter()
                .any(|pod| pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running"))
        })
        .await;
    let pods = plane.client.api::<Pod>("default");
    for pod in plane.informers.informer::<Pod>().store().list() {
        end(&pods, pod.name(), 0).await;
    }
    plane
        .wait::<CronJob>("the success is noted", |store| {
            let status = store.get("default", "tick").and_then(|c| c.status.clone());
            status.is_some_and(|s| s.active.is_none() && s.last_successful_time.is_some())
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_fails_for_itself_and_the_others_succeed() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let job: Job = decode(&json!({"metadata": {"name": "work"}, "spec": {
        "completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "backoffLimitPerIndex": 1, "template": template(),
    }}));
    plane
        .client
        .api::<Job>("default")
        .create(&job)
        .await
        .unwrap();
    let pods = plane.client.api::<Pod>("default");
    let store = plane.informers.informer::<Pod>();
    plane
        .wait::<Pod>("both indexes run", |store| {
            !running(store, "0").is_empty() && !running(store, "1").is_empty()
        })
        .await;
    let first = running(store.store(), "0").remove(0);
    end(&pods, &first, 1).await;
    end(&pods, &running(store.store(), "1")[0], 0).await;
    // It ended long ago, so it is replaced at once.
    plane
        .wait::<Pod>("a second try", |store| {
            running(store, "0").iter().any(|name| *name != first)
        })
        .await;
    let second = running(store.store(), "0").remove(0);
    let count = store.store().get("default", &second).unwrap();
    assert_eq!(
        count.annotation("batch.kubernetes.io/job-index-failure-count"),
        Some("1")
    );
    end(&pods, &second, 1).await;
    plane
        .wait::<Job>("the job has failed, one index has not", |store| {
            let status = store
                .get("default", "work")
                .and_then(|job| job.status.clone());
            condition(store, "work", "Failed").as_deref() == Some("FailedIndexes")
                && status.is_some_and(|status| {
                    status.failed_indexes.as_deref() == Some("0")
                        && status.completed_indexes.as_deref() == Some("1")
                        && status.failed == Some(2)
                })
        })
        .await;
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_end_a_job_early() {
    let plane = ControlPlane::start(controllers::Config::default()).await;
    let jobs = plane.client.api::<Job>("default");
    let job: Job = decode(&json!({"metadata": {"name": "well"}, "spec": {
        "completionMode": "Indexed", "completions": 3, "parallelism": 3, "template": template(),
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    }}));
    jobs.create(&job).await.unwrap();
    plane
        .wait::<Pod>("all indexes run", |store| {
            ["0", "1", "2"]
                .iter()
                .all(|i| !running(store, i).is_empty())
        })
        .await;
    let pods = plane.client.api::<Pod>("default");
    let store = plane.informers.informer::<Pod>();
    end(&pods, &running(store.store(), "0")[0], 0).await;
    plane
        .wait::<Job>("the job is complete", |store| {
            let status = store
                .get("default", "well")
                .and_then(|job| job.status.clone());
            condition(store, "well", "Complete").as_deref() == Some("SuccessPolicy")
                && status.is_some_and(|status| status.failed.is_none())
        })
        .await;

    let job: Job = decode(&json!({"metadata": {"name": "ill"}, "spec": {
        "completionMode": "Indexed", "completions": 2, "parallelism": 1, "template": template(),
        "podFailurePolicy": {"rules": [{"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}]},
    }}));
    jobs.create(&job).await.unwrap();
    let ill = |pod: &&std::sync::Arc<Pod>| {
        pod.name().starts_with("ill-")
            && pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running")
    };
    plane
        .wait::<Pod>("it runs", |store| store.list().iter().any(|pod| ill(&pod)))
        .await;
    let name = store
        .store()
        .list()
        .iter()
        .find(ill)
        .unwrap()
        .name()
        .to_owned();
    end(&pods, &name, 42).await;
    plane
        .wait::<Job>("the job has failed", |store| {
            condition(store, "ill", "Failed").as_deref() == Some("PodFailurePolicy")
        })
        .await;
    plane.stop().await;
}
