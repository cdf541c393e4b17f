//! Plans by table, and whole lives of pods on a runtime in memory.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use base::Clock;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Backoff, KillReason, PlanState,
    PodAction::{self, *},
    backoff_key,
    context::INITIAL_BACK_OFF,
    go_duration, plan,
};
use crate::{
    KubeletConfig, KubeletDeps, PreparedKubelet,
    observed::{ContainerState, ObservedContainer, ObservedPod, ObservedSandbox},
    pod::{
        ContainerKind::{self, *},
        container_hash, find_container,
    },
    prepare,
    probes::ProbeResult,
    testing::{FAILS, FakeRuntime, MISSING, RUNS, SUCCEEDS},
};

fn pod(spec: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u1"}, "spec": spec}),
    )
    .unwrap()
}

fn state() -> PlanState {
    let backoff = Backoff::new(INITIAL_BACK_OFF, SignedDuration::from_secs(300));
    PlanState {
        backoff,
        liveness: HashMap::new(),
        startup: HashMap::new(),
        actuated: Default::default(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + seconds).unwrap()
}

/// A pod with a ready sandbox and these containers: name, state, exit code.
fn seen(pod: &Pod, containers: &[(&str, ContainerState, i32)]) -> ObservedPod {
    let sandbox = ObservedSandbox {
        id: "s".into(),
        ready: true,
        ips: vec!["10.0.0.1".into()],
        ..Default::default()
    };
    let container = |(name, state, exit_code): &(&str, ContainerState, i32)| ObservedContainer {
        id: format!("{name}-id"),
        name: (*name).to_owned(),
        sandbox_id: "s".into(),
        state: *state,
        exit_code: *exit_code,
        finished_at: (*state == ContainerState::Exited).then(|| at(0)),
        hash: find_container(pod, name).map(|(_, container)| container_hash(&container)),
        ..Default::default()
    };
    ObservedPod {
        sandboxes: vec![sandbox],
        containers: containers.iter().map(container).collect(),
        ..Default::default()
    }
}

fn start(kind: ContainerKind, name: &str) -> PodAction {
    StartContainer {
        kind,
        name: name.to_owned(),
    }
}

#[test]
fn a_new_pod_gets_a_sandbox_and_its_first_containers() {
    let nothing = ObservedPod::default();
    let plain = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    assert_eq!(
        plan(&plain, &nothing, &state(), at(0)),
        [
            CreateSandbox { attempt: 0 },
            start(Regular, "a"),
            start(Regular, "b")
        ]
    );
    let with_init = pod(
        json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}),
    );
    assert_eq!(
        plan(&with_init, &nothing, &state(), at(0)),
        [CreateSandbox { attempt: 0 }, start(Init, "i")]
    );
}

#[test]
fn init_containers_go_one_after_the_other() {
    use ContainerState::*;
    let it = pod(
        json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]}),
    );
    let never = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
    );
    for (pod, containers, expected) in [
        (&it, vec![], vec![start(Init, "i")]),
        (&it, vec![("i", Running, 0)], vec![]),
        (&it, vec![("i", Exited, 0)], vec![start(Init, "j")]),
        (&it, vec![("i", Exited, 1)], vec![start(Init, "i")]),
        (
            &it,
            vec![("i", Exited, 0), ("j", Exited, 0)],
            vec![start(Regular, "a")],
        ),
        // The first one's container was cleaned up.
        (&it, vec![("j", Exited, 0)], vec![start(Regular, "a")]),
        (&it, vec![("a", Running, 0)], vec![]),
        (&it, vec![("a", Exited, 0)], vec![start(Regular, "a")]),
        (&never, vec![("i", Exited, 1)], vec![KillPod]),
        (&never, vec![("i", Exited, 0)], vec![start(Regular, "a")]),
    ] {
        assert_eq!(
            plan(pod, &seen(pod, &containers), &state(), at(0)),
            expected,
            "{containers:?}"
        );
    }
}

#[test]
fn sidecars_let_the_next_one_start_and_are_kept_up() {
    use ContainerState::*;
    let it = pod(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}], "containers": [{"name": "a"}]}));
    let slow = pod(
        json!({"initContainers": [{"name": "s", "restartPolicy": "Always", "startupProbe": {}}],
        "containers": [{"name": "a"}]}),
    );
    for (pod, containers, expected) in [
        (&it, vec![("s", Running, 0)], vec![start(Init, "i")]),
        (&it, vec![("s", Exited, 1)], vec![start(Init, "s")]),
        (&it, vec![("s", Running, 0), ("i", Running, 0)], vec![]),
        (
            &it,
            vec![("s", Exited, 0), ("i", Exited, 0)],
            vec![start(Init, "s"), start(Regular, "a")],
        ),
        (
            &it,
            vec![("s", Exited, 0), ("i", Exited, 0), ("a", Running, 0)],
            vec![start(Init, "s")],
        ),
        // Regular containers have ended for good, and so sidecars end too.
        (
            &it,
            vec![("s", Running, 0), ("i", Exited, 0), ("a", Exited, 0)],
            vec![KillPod],
        ),
        (&slow, vec![("s", Running, 0)], vec![]),
    ] {
        assert_eq!(
            plan(pod, &seen(pod, &containers), &state(), at(0)),
            expected,
            "{containers:?}"
        );
    }
    let mut started = state();
    started
        .startup
        .insert("s-id".to_owned(), ProbeResult::Success);
    assert_eq!(
        plan(&slow, &seen(&slow, &[("s", Running, 0)]), &started, at(0)),
        [start(Regular, "a")]
    );
}

#[test]
fn restart_policies() {
    use ContainerState::*;
    let with = |policy: &str| pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
    for (policy, exit_code, restarted) in [
        ("Always", 0, true),
        ("Always", 1, true),
        ("OnFailure", 0, false),
        ("OnFailure", 1, true),
        ("Never", 0, false),
        ("Never", 1, false),
    ] {
        let pod = with(policy);
        let expected = if restarted {
            vec![start(Regular, "a")]
        } else {
            vec![KillPod]
        };
        assert_eq!(
            plan(
                &pod,
                &seen(&pod, &[("a", Exited, exit_code)]),
                &state(),
                at(0)
            ),
            expected,
            "{policy} {exit_code}"
        );
    }
    // The container's own rules come first (KEP-5307).
    let ruled = pod(
        json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]}),
    );
    assert_eq!(
        plan(&ruled, &seen(&ruled, &[("a", Exited, 42)]), &state(), at(0)),
        [start(Regular, "a")]
    );
    assert_eq!(
        plan(&ruled, &seen(&ruled, &[("a", Exited, 1)]), &state(), at(0)),
        [KillPod]
    );
}

#[test]
fn failed_probes_and_changed_specs_restart() {
    use ContainerState::*;
    let it = pod(json!({"containers": [{"name": "a", "image": "x"}]}));
    let running = seen(&it, &[("a", Running, 0)]);
    let kill = |reason, message: &str| KillContainer {
        id: "a-id".into(),
        name: "a".into(),
        message: message.into(),
        reason,
    };
    let mut dead = state();
    dead.liveness
        .insert("a-id".to_owned(), ProbeResult::Failure);
    assert_eq!(
        plan(&it, &running, &dead, at(0)),
        [
            kill(
                KillReason::LivenessProbe,
                "Container a failed liveness probe, will be restarted"
            ),
            start(Regular, "a")
        ]
    );
    let changed = pod(json!({"containers": [{"name": "a", "image": "y"}]}));
    assert_eq!(
        plan(&changed, &running, &state(), at(0)),
        [
            kill(
                KillReason::SpecChanged,
                "Container a definition changed, will be restarted"
            ),
            start(Regular, "a")
        ]
    );
}

#[test]
fn a_lost_sandbox_is_made_anew() {
    use ContainerState::*;
    let it = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let mut gone = seen(&it, &[("i", Exited, 0), ("a", Exited, 137)]);
    gone.sandboxes[0].ready = false;
    assert_eq!(
        plan(&it, &gone, &state(), at(0)),
        [KillPod, CreateSandbox { attempt: 1 }, start(Init, "i")]
    );
    let never = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
    let mut done = seen(&never, &[("a", Exited, 0)]);
    done.sandboxes[0].ready = false;
    assert_eq!(
        plan(&never, &done, &state(), at(0)),
        [KillPod],
        "a finished pod gets no sandbox"
    );
}

#[test]
fn back_off_doubles_and_is_forgotten() {
    use ContainerState::*;
    let it = pod(json!({"containers": [{"name": "a"}]}));
    let ended = seen(&it, &[("a", Exited, 1)]);
    let mut state = state();
    assert_eq!(
        plan(&it, &ended, &state, at(0)),
        [start(Regular, "a")],
        "the first restart waits for nothing"
    );
    let key = backoff_key(&it.spec.as_ref().unwrap().containers[0]);
    state.backoff.next(&key, at(0), at(0));
    let wait = BackOff {
        kind: Regular,
        name: "a".into(),
        until: at(10),
    };
    assert_eq!(plan(&it, &ended, &state, at(9)), [wait]);
    assert_eq!(plan(&it, &ended, &state, at(10)), [start(Regular, "a")]);
    for (step, delay) in ["20s", "40s", "1m20s", "2m40s", "5m0s", "5m0s"]
        .into_iter()
        .enumerate()
    {
        let now = at(100 * (i64::try_from(step).unwrap() + 1));
        state.backoff.next(&key, now, now);
        assert_eq!(go_duration(state.backoff.delay(&key)), delay);
    }
    let later = at(700 + 601);
    assert_eq!(
        state.backoff.waits_until(&key, later, later),
        None,
        "ten quiet minutes forgive"
    );
}

/// A kubelet without API server, on a runtime in memory.
struct Bench {
    runtime: FakeRuntime,
    prepared: PreparedKubelet,
    clock: Clock,
    root: PathBuf,
    cancel: CancellationToken,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let clock = Clock::manual(at(0));
        let root = std::env::temp_dir().join(format!("kubelet-test-{}-{name}", std::process::id()));
        let runtime = FakeRuntime::new(clock.clone());
        let (prepared, cancel) = kubelet(&runtime, &clock, &root).await;
        Self {
            runtime,
            prepared,
            clock,
            root,
            cancel,
        }
    }

    fn update(&self, pod: &Pod) {
        self.prepared.workers().update(Arc::new(pod.clone()));
    }

    /// Waits until the status is as wanted; the bound is for a broken kubelet, not a delay.
    async fn until(&self, what: &str, wanted: impl Fn(&PodStatus) -> bool) -> PodStatus {
        let poll = async {
            loop {
                if let Some(status) = self
                    .prepared
                    .statuses()
                    .get("u1")
                    .filter(|status| wanted(status))
                {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(10), poll).await {
            Ok(status) => status,
            Err(_) => panic!(
                "{what}: {:#?}\n{:?}",
                self.prepared.statuses().get("u1"),
                self.runtime.state().calls
            ),
        }
    }

    fn calls(&self) -> Vec<String> {
        self.runtime.state().calls.clone()
    }
}

async fn kubelet(
    runtime: &FakeRuntime,
    clock: &Clock,
    root: &std::path::Path,
) -> (PreparedKubelet, CancellationToken) {
    let config = KubeletConfig {
        root_dir: root.join("lib"),
        pod_logs_dir: root.join("logs"),
        cgroups_per_qos: false,
        node_ips: vec!["192.168.0.1".parse().unwrap()],
        ..KubeletConfig::new("node")
    };
    let deps = KubeletDeps {
        client: None,
        runtime: Arc::new(runtime.clone()),
        images: Arc::new(runtime.clone()),
        streaming: Arc::new(runtime.clone()),
        clock: clock.clone(),
    };
    let cancel = CancellationToken::new();
    let prepared = prepare(config, deps, &cancel).await.unwrap();
    prepared.start_pleg();
    (prepared, cancel)
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.cancel.cancel();
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn phase(wanted: &'static str) -> impl Fn(&PodStatus) -> bool {
    move |status| status.phase.as_deref() == Some(wanted)
}

fn waiting(status: &PodStatus) -> Option<&str> {
    let first = status.container_statuses.as_ref()?.first()?;
    first.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
}

fn condition<'a>(status: &'a PodStatus, type_: &str) -> &'a str {
    let all = status.conditions.as_deref().unwrap_or_default();
    all.iter()
        .find(|condition| condition.type_ == type_)
        .map_or("", |condition| &condition.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_and_stops_gracefully() {
    let bench = Bench::new("runs").await;
    let mut it = pod(
        json!({"terminationGracePeriodSeconds": 7, "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"name": "a", "image": RUNS, "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "lifecycle": {"preStop": {"exec": {"command": ["bye"]}}}}]}),
    );
    bench.update(&it);
    let status = bench.until("running", phase("Running")).await;
    assert_eq!(status.pod_ip.as_deref(), Some("10.0.0.1"));
    for type_ in [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ] {
        assert_eq!(condition(&status, type_), "True", "{type_}");
    }
    assert!(
        bench
            .root
            .join("lib/pods/u1/volumes/kubernetes.io~empty-dir/v")
            .is_dir()
    );
    it.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    it.metadata.deletion_grace_period_seconds = Some(5);
    bench.update(&it);
    bench
        .until("stopped", |status| {
            status.phase.as_deref() == Some("Failed")
        })
        .await;
    let cleaned =
        |_: &PodStatus| bench.prepared.workers().stage("u1") == Some(super::Stage::Terminated);
    bench.until("cleaned up", cleaned).await;
    assert_eq!(
        bench.calls(),
        [
            "sandbox 0",
            "start a",
            "exec bye",
            "stop a 5",
            "stop sandbox"
        ]
    );
    assert!(!bench.root.join("lib/pods/u1").exists(), "volumes are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_completes_has_succeeded() {
    let bench = Bench::new("completes").await;
    bench.update(&pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i", "image": SUCCEEDS}],
        "containers": [{"name": "a", "image": RUNS}]}),
    ));
    bench.until("running", phase("Running")).await;
    bench.runtime.exit("a", 0);
    let status = bench.until("succeeded", phase("Succeeded")).await;
    assert_eq!(condition(&status, "Ready"), "False");
    let ended = status.container_statuses.unwrap()[0]
        .state
        .clone()
        .unwrap()
        .terminated
        .unwrap();
    assert_eq!(
        (ended.exit_code, ended.reason.as_deref()),
        (0, Some("Completed"))
    );
    assert_eq!(bench.calls()[..3], ["sandbox 0", "start i", "start a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashing_container_backs_off() {
    let bench = Bench::new("crashes").await;
    bench.update(&pod(json!({"containers": [{"name": "a", "image": FAILS}]})));
    let status = bench
        .until("back-off", |status| {
            waiting(status) == Some("CrashLoopBackOff")
        })
        .await;
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert_eq!(container.restart_count, 1, "one restart is free");
    let message = container
        .state
        .clone()
        .unwrap()
        .waiting
        .unwrap()
        .message
        .unwrap();
    assert_eq!(
        message,
        "back-off 10s restarting failed container=a pod=p_ns(u1)"
    );
    assert_eq!(
        container
            .last_state
            .clone()
            .unwrap()
            .terminated
            .unwrap()
            .reason
            .as_deref(),
        Some("Error")
    );
    assert_eq!(status.phase.as_deref(), Some("Running"));
    bench.clock.advance(Duration::from_secs(10));
    bench.prepared.workers().wake("u1");
    bench
        .until("the next try", |status| {
            status
                .container_statuses
                .as_ref()
                .is_some_and(|list| list[0].restart_count == 2)
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_to_be_had() {
    let bench = Bench::new("missing").await;
    bench.update(&pod(
        json!({"containers": [{"name": "a", "image": MISSING}]}),
    ));
    let status = bench
        .until("failed pull", |status| {
            // The next look, which an event may cause at once, says the other.
            matches!(waiting(status), Some("ErrImagePull" | "ImagePullBackOff"))
        })
        .await;
    assert_eq!(status.phase.as_deref(), Some("Pending"));
    bench.prepared.workers().wake("u1");
    bench
        .until("back-off", |status| {
            waiting(status) == Some("ImagePullBackOff")
        })
        .await;
    bench.update(&pod(
        json!({"containers": [{"name": "a", "image": MISSING, "imagePullPolicy": "Never"}]}),
    ));
    bench
        .until("never", |status| {
            waiting(status) == Some("ErrImageNeverPull")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_back_off_of_an_image_is_waited_for() {
    let bench = Bench::new("patience").await;
    bench.update(&pod(
        json!({"containers": [{"name": "a", "image": MISSING}]}),
    ));
    // The fourth failure is followed by 80 seconds, more than the worker sleeps otherwise.
    for pulls in 1..=4 {
        bench
            .until("a pull", |_| bench.runtime.state().pulls == pulls)
            .await;
        if pulls < 4 {
            bench.clock.advance(Duration::from_secs(10 << (pulls - 1)));
            bench.prepared.workers().wake("u1");
        }
    }
    bench.prepared.workers().wake("u1");
    bench
        .until("back-off", |status| {
            waiting(status) == Some("ImagePullBackOff")
        })
        .await;
    // Nothing happens any more, so that there is nothing to wait for: whoever does not wait looks hundreds of times.
    let before = bench.runtime.state().looks;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let looks = bench.runtime.state().looks - before;
    assert!(looks < 10, "looked at {looks} times while it waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_kubelet_adopts_what_runs() {
    let bench = Bench::new("adopts").await;
    let it = pod(json!({"containers": [{"name": "a", "image": RUNS}]}));
    bench.update(&it);
    bench.until("running", phase("Running")).await;
    bench.prepared.stop().await;
    assert_eq!(
        bench.runtime.running(),
        ["a"],
        "containers outlive the kubelet"
    );
    let (again, cancel) = kubelet(&bench.runtime, &bench.clock, &bench.root).await;
    again.workers().update(Arc::new(it));
    let running = async {
        while again
            .statuses()
            .get("u1")
            .and_then(|status| status.phase)
            .as_deref()
            != Some("Running")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), running)
        .await
        .unwrap();
    again.stop().await;
    cancel.cancel();
    assert_eq!(
        bench.calls(),
        ["sandbox 0", "start a"],
        "nothing was started twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_container_is_restarted() {
    let bench = Bench::new("killed").await;
    bench.update(&pod(json!({"containers": [{"name": "a", "image": RUNS}]})));
    bench.until("running", phase("Running")).await;
    bench.runtime.exit("a", 137);
    let status = bench
        .until("restarted", |status| {
            status.container_statuses.as_ref().is_some_and(|list| {
                list[0].restart_count == 1
                    && list[0]
                        .state
                        .as_ref()
                        .is_some_and(|state| state.running.is_some())
            })
        })
        .await;
    assert_eq!(
        status.container_statuses.unwrap()[0]
            .last_state
            .clone()
            .unwrap()
            .terminated
            .unwrap()
            .exit_code,
        137
    );
}
