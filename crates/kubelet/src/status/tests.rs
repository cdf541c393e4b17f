//! Phases and conditions by table.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Value, json};

use super::{StatusInputs, generate_status};
use crate::observed::{
    ContainerState, ContainerState::*, ObservedContainer, ObservedPod, ObservedSandbox,
};

fn pod(spec: Value) -> Pod {
    serde_json::from_value(
        json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"}, "spec": spec}),
    )
    .unwrap()
}

fn status_of(
    pod: &Pod,
    containers: &[(&str, ContainerState, i32)],
    change: impl Fn(&mut StatusInputs),
) -> PodStatus {
    let container = |(name, state, exit_code): &(&str, ContainerState, i32)| ObservedContainer {
        id: format!("{name}-id"),
        name: (*name).to_owned(),
        state: *state,
        exit_code: *exit_code,
        ..Default::default()
    };
    let sandbox = ObservedSandbox {
        ready: true,
        ips: vec!["10.0.0.1".to_owned()],
        ..Default::default()
    };
    let observed = ObservedPod {
        sandboxes: vec![sandbox],
        containers: containers.iter().map(container).collect(),
        ..Default::default()
    };
    let mut inputs = StatusInputs {
        now: Timestamp::UNIX_EPOCH,
        runtime_name: "ironclad".to_owned(),
        ..Default::default()
    };
    change(&mut inputs);
    generate_status(pod, &observed, &inputs)
}

fn condition(status: &PodStatus, type_: &str) -> (String, String, String) {
    let found = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == type_)
        .unwrap();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (
        found.status.clone(),
        text(&found.reason),
        text(&found.message),
    )
}

#[test]
fn phases() {
    let two = |policy: &str| {
        pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}]}))
    };
    let init = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let init_never = pod(
        json!({"restartPolicy": "Never", "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}),
    );
    for (pod, containers, expected) in [
        (&two("Always"), vec![], "Pending"),
        (&two("Always"), vec![("a", Running, 0)], "Pending"),
        (
            &two("Always"),
            vec![("a", Running, 0), ("b", Running, 0)],
            "Running",
        ),
        (
            &two("Always"),
            vec![("a", Running, 0), ("b", Exited, 1)],
            "Running",
        ),
        (
            &two("Always"),
            vec![("a", Exited, 0), ("b", Exited, 0)],
            "Running",
        ),
        (
            &two("OnFailure"),
            vec![("a", Exited, 0), ("b", Exited, 0)],
            "Succeeded",
        ),
        (
            &two("OnFailure"),
            vec![("a", Exited, 0), ("b", Exited, 1)],
            "Running",
        ),
        (
            &two("Never"),
            vec![("a", Exited, 0), ("b", Exited, 1)],
            "Failed",
        ),
        (
            &two("Never"),
            vec![("a", Exited, 0), ("b", Running, 0)],
            "Running",
        ),
        (&init, vec![("i", Running, 0)], "Pending"),
        (&init, vec![("i", Exited, 0)], "Pending"),
        (&init, vec![("i", Exited, 1)], "Pending"),
        (&init, vec![("i", Exited, 0), ("a", Running, 0)], "Running"),
        (&init_never, vec![("i", Exited, 1)], "Failed"),
    ] {
        let status = status_of(pod, &containers, |_| ());
        assert_eq!(status.phase.as_deref(), Some(expected), "{containers:?}");
    }
}

#[test]
fn conditions_say_what_is_missing() {
    let it = pod(
        json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}),
    );
    let early = status_of(&it, &[("i", Running, 0)], |_| ());
    let not =
        |reason: &str, message: &str| ("False".to_owned(), reason.to_owned(), message.to_owned());
    let incomplete = "containers with incomplete status: [i]";
    assert_eq!(
        condition(&early, "Initialized"),
        not("ContainersNotInitialized", incomplete)
    );
    let unready = "containers with unready status: [a b]";
    assert_eq!(
        condition(&early, "Ready"),
        not("ContainersNotReady", unready)
    );
    assert_eq!(condition(&early, "PodReadyToStartContainers").0, "True");
    let waiting = early.container_statuses.unwrap()[0]
        .state
        .clone()
        .unwrap()
        .waiting
        .unwrap();
    assert_eq!(waiting.reason.as_deref(), Some("PodInitializing"));
    let late = status_of(
        &it,
        &[("i", Exited, 0), ("a", Running, 0), ("b", Running, 0)],
        |inputs| {
            inputs.ready.insert("b-id".to_owned(), false);
        },
    );
    assert_eq!(condition(&late, "Initialized").0, "True");
    let unready = "containers with unready status: [b]";
    assert_eq!(
        condition(&late, "ContainersReady"),
        not("ContainersNotReady", unready)
    );
}

#[test]
fn readiness_gates_belong_to_others_and_count() {
    let mut it =
        pod(json!({"readinessGates": [{"conditionType": "lb"}], "containers": [{"name": "a"}]}));
    let running = [("a", Running, 0)];
    let (status, reason, message) = condition(&status_of(&it, &running, |_| ()), "Ready");
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "ReadinessGatesNotReady")
    );
    assert_eq!(
        message,
        "corresponding condition of pod readiness gate \"lb\" does not exist."
    );
    it.status =
        serde_json::from_value(json!({"conditions": [{"type": "lb", "status": "True"}]})).unwrap();
    let status = status_of(&it, &running, |_| ());
    assert_eq!(condition(&status, "Ready").0, "True");
    assert_eq!(condition(&status, "lb").0, "True", "it is carried over");
}

#[test]
fn what_ended_stays_ended() {
    let it = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
    let ended = status_of(&it, &[("a", Exited, 0)], |_| ());
    assert_eq!(ended.phase.as_deref(), Some("Succeeded"));
    // The runtime has forgotten the container.
    let later = status_of(&it, &[], |inputs| inputs.previous = ended.clone());
    assert_eq!(later.phase.as_deref(), Some("Succeeded"));
    assert_eq!(later.container_statuses, ended.container_statuses);
}

#[test]
fn a_verdict_names_its_reason() {
    let it = pod(json!({"containers": [{"name": "a"}]}));
    let status = status_of(&it, &[("a", Exited, 137)], |inputs| {
        inputs.terminating = true;
        inputs.terminated = true;
        inputs.verdict = Some((
            "Failed".to_owned(),
            "Evicted".to_owned(),
            "The node was low".to_owned(),
        ));
    });
    assert_eq!(
        (status.phase.as_deref(), status.reason.as_deref()),
        (Some("Failed"), Some("Evicted"))
    );
}

#[test]
fn pods_on_the_nodes_network_have_its_addresses_and_keep_them() {
    let pod = pod(json!({"hostNetwork": true, "containers": [{"name": "a"}]}));
    let ips = |node: &[&str], before: &[&str]| {
        let status = status_of(&pod, &[], |inputs| {
            inputs.host_ips = node.iter().map(|ip| ip.parse().unwrap()).collect();
            let before = before.iter().map(|ip| json!({"ip": ip}));
            let before = json!({"podIPs": before.collect::<Vec<_>>()});
            inputs.previous = serde_json::from_value(before).unwrap();
        });
        let ips = status.pod_ips.unwrap_or_default();
        assert_eq!(status.pod_ip, ips.first().map(|ip| ip.ip.clone()));
        ips.into_iter().map(|ip| ip.ip).collect::<Vec<_>>()
    };
    assert_eq!(ips(&["10.1.0.1", "fd00::1"], &[]), ["10.1.0.1", "fd00::1"]);
    assert_eq!(ips(&["10.1.0.2"], &["10.1.0.1"]), ["10.1.0.1"]);
    assert_eq!(
        ips(&["10.1.0.2", "fd00::2"], &["10.1.0.1"]),
        ["10.1.0.1", "fd00::2"],
        "the node has become one of two families"
    );
    assert_eq!(ips(&["fd00::2", "10.1.0.2"], &["10.1.0.1"]), ["10.1.0.1"]);
    assert!(ips(&[], &[]).is_empty());
}
