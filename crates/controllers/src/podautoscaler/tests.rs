//! Tables for what is computed.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscalerSpec, core::v1::Pod};
use serde_json::{Value, json};

use super::{
    behavior::{Memory, limit},
    replicas::{Measured, Measurements, Scaled, Tolerances},
};
use crate::config::Autoscaling;

const STABILIZATION: Duration = Duration::from_secs(300);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

fn pod(name: &str, phase: &str, ready: bool) -> Arc<Pod> {
    let ready = if ready { "True" } else { "False" };
    let object = json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "100m"}}}]},
        "status": {
            "phase": phase, "startTime": "1970-01-01T00:00:00Z",
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "1970-01-01T00:10:00Z"}],
        },
    });
    Arc::new(serde_json::from_value(object).unwrap())
}

fn measured(values: &[(&str, i64)]) -> Measurements {
    let measured = |value| Measured {
        value,
        at: at(0),
        window: SignedDuration::from_secs(60),
    };
    values
        .iter()
        .map(|(pod, value)| ((*pod).to_owned(), measured(*value)))
        .collect()
}

fn scaled(pods: &[Arc<Pod>], replicas: i32) -> Scaled<'_> {
    Scaled {
        replicas,
        pods,
        tolerances: Tolerances { down: 0.1, up: 0.1 },
        settings: Autoscaling::default(),
        now: at(0),
    }
}

#[test]
fn usage_moves_replicas() {
    let pods = [pod("a", "Running", true), pod("b", "Running", true)];
    let by = |a, b| {
        let proposal =
            scaled(&pods, 2).by_utilization(&measured(&[("a", a), ("b", b)]), "cpu", None, 50);
        let proposal = proposal.unwrap();
        (proposal.replicas, proposal.utilization, proposal.usage)
    };
    assert_eq!(by(100, 100), (4, Some(100), 100));
    assert_eq!(by(55, 50), (2, Some(52), 52), "within the tolerance");
    assert_eq!(by(20, 20), (1, Some(20), 20));
    let average = scaled(&pods, 2).by_average(&measured(&[("a", 3000), ("b", 1000)]), None, 1000);
    assert_eq!(average.unwrap().replicas, 4);
    assert_eq!(
        scaled(&pods, 2).by_value(30_000, 10_000).unwrap().replicas,
        6
    );
    assert_eq!(scaled(&pods, 2).by_share(30_000, 10_000, 2).replicas, 3);
}

#[test]
fn what_is_not_known_damps() {
    let pods = [
        pod("a", "Running", true),
        pod("b", "Running", true),
        pod("c", "Pending", false),
    ];
    let by = |values: &[(&str, i64)]| {
        let proposal = scaled(&pods, 3).by_utilization(&measured(values), "cpu", None, 50);
        proposal.map(|proposal| proposal.replicas)
    };
    // Up: the pending one counts as using nothing.
    assert_eq!(by(&[("a", 100), ("b", 100)]), Ok(4));
    // Down: the one without figures counts as using all it may.
    assert_eq!(by(&[("a", 10)]), Ok(3));
    assert_eq!(
        by(&[]),
        Err("did not receive metrics for targeted pods (pods might be unready)".to_owned())
    );
    let missing = scaled(&pods, 3).by_utilization(&measured(&[("a", 1)]), "memory", None, 50);
    assert_eq!(
        missing.unwrap_err(),
        "missing request for memory in container c of Pod a"
    );
}

fn spec(extra: &Value) -> HorizontalPodAutoscalerSpec {
    let mut spec = json!({"minReplicas": 1, "maxReplicas": 20, "scaleTargetRef": {"kind": "Deployment", "name": "d"}});
    for (field, value) in extra.as_object().unwrap() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

#[test]
fn changes_are_bounded_and_going_down_waits() {
    let spec = spec(&json!({}));
    let mut memory = Memory::default();
    memory.begin(2, at(0));
    let mut ask = |current, wanted, second| {
        let (replicas, [able, limited]) = limit(
            &spec,
            &mut memory,
            current,
            wanted,
            STABILIZATION,
            at(second),
        );
        (replicas, able.2, limited.2)
    };
    assert_eq!(ask(2, 10, 0), (4, "ReadyForNewScale", "ScaleUpLimit"));
    assert_eq!(ask(4, 30, 15).0, 8);
    assert_eq!(ask(16, 30, 30), (20, "ReadyForNewScale", "TooManyReplicas"));
    assert_eq!(
        ask(20, 3, 45),
        (20, "ScaleDownStabilized", "TooManyReplicas")
    );
    assert_eq!(
        ask(20, 3, 340),
        (3, "ReadyForNewScale", "DesiredWithinRange")
    );
    assert_eq!(ask(3, 0, 900), (1, "ReadyForNewScale", "TooFewReplicas"));
}

#[test]
fn rules_bound_the_rate() {
    let spec = spec(&json!({"behavior": {
        "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]},
        "scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Min",
            "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}, {"type": "Percent", "value": 50, "periodSeconds": 60}]},
    }}));
    let mut memory = Memory::default();
    assert_eq!(
        limit(&spec, &mut memory, 10, 20, STABILIZATION, at(0)).0,
        15
    );
    memory.scaled(10, 15, at(0));
    // The period's change is used up.
    assert_eq!(
        limit(&spec, &mut memory, 15, 20, STABILIZATION, at(30)).0,
        15
    );
    assert_eq!(
        limit(&spec, &mut memory, 15, 20, STABILIZATION, at(61)).0,
        20
    );
    let (replicas, [_, limited]) =
        limit(&spec, &mut Memory::default(), 10, 2, STABILIZATION, at(0));
    assert_eq!((replicas, limited.2), (9, "ScaleDownLimit"));
}
