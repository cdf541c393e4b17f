//! The row of a pod: what its containers do, told in one word.

use apimachinery::{Object, meta};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    age::{age, since},
    format::{NONE, condition_is_true, or},
};
use crate::fields::Fields;

/// What a row is made of.
pub(super) const PATHS: &[&str] = &[
    "metadata.creationTimestamp",
    "metadata.deletionTimestamp",
    "metadata.name",
    "spec.containers.name",
    "spec.initContainers.name",
    "spec.initContainers.restartPolicy",
    "spec.nodeName",
    "spec.readinessGates",
    "status.conditions.reason",
    "status.conditions.status",
    "status.conditions.type",
    "status.containerStatuses",
    "status.initContainerStatuses",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.reason",
];

/// Restarts, and when the last one was.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, status: &Object) {
        self.count += status.int("restartCount").unwrap_or(0);
        let finished = status
            .object("lastState")
            .and_then(|s| s.object("terminated"))
            .map_or("", |t| t.text("finishedAt"));
        // All times are UTC to the second, so that they compare as text.
        if finished > self.last.as_str() {
            self.last = finished.to_owned();
        }
    }
}

/// Why a container ended, when it gave no reason.
fn ended(terminated: &Object) -> String {
    match (
        terminated.text("reason"),
        terminated.int("signal").unwrap_or(0),
    ) {
        ("", 0) => format!("ExitCode:{}", terminated.int("exitCode").unwrap_or(0)),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// Name, Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates.
pub(super) fn cells(pod: &Object, now: Timestamp) -> Vec<Value> {
    let empty = Object::new();
    let spec = pod.object("spec").unwrap_or(&empty);
    let status = pod.object("status").unwrap_or(&empty);
    let phase = status.text("phase");

    let mut reason = or(status.text("reason"), phase).to_owned();
    if status
        .objects("conditions")
        .any(|(_, c)| c.text("type") == "PodScheduled" && c.text("reason") == "SchedulingGated")
    {
        reason = "SchedulingGated".to_owned();
    }
    let is_sidecar = |name: &str| {
        spec.objects("initContainers")
            .any(|(_, c)| c.text("name") == name && c.text("restartPolicy") == "Always")
    };
    let mut total = spec.list("containers").len();
    total += spec
        .objects("initContainers")
        .filter(|(_, c)| is_sidecar(c.text("name")))
        .count();

    let mut ready = 0;
    let (mut restarts, mut sidecar_restarts) = (Restarts::default(), Restarts::default());
    let mut initializing = false;
    for (index, container) in status.objects("initContainerStatuses") {
        let sidecar = is_sidecar(container.text("name"));
        restarts.add(container);
        if sidecar {
            sidecar_restarts.add(container);
        }
        let state = container.object("state");
        let terminated = state.and_then(|s| s.object("terminated"));
        let waiting = state
            .and_then(|s| s.object("waiting"))
            .map_or("", |w| w.text("reason"));
        if terminated.is_some_and(|t| t.int("exitCode").unwrap_or(0) == 0) {
            continue;
        }
        if sidecar && container.is_true("started") {
            ready += usize::from(container.is_true("ready"));
            continue;
        }
        reason = if let Some(terminated) = terminated {
            format!("Init:{}", ended(terminated))
        } else if !matches!(waiting, "" | "PodInitializing") {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", spec.list("initContainers").len())
        };
        initializing = true;
        break;
    }
    if !initializing || condition_is_true(Some(status), "Initialized") {
        restarts = sidecar_restarts;
        let mut has_running = false;
        for container in status
            .list("containerStatuses")
            .iter()
            .rev()
            .filter_map(Value::as_object)
        {
            restarts.add(container);
            let state = container.object("state").unwrap_or(&empty);
            let waiting = state.object("waiting").map_or("", |w| w.text("reason"));
            if !waiting.is_empty() {
                reason = waiting.to_owned();
            } else if let Some(terminated) = state.object("terminated") {
                reason = ended(terminated);
            } else if container.is_true("ready") && state.has("running") {
                has_running = true;
                ready += 1;
            }
        }
        if reason == "Completed" && has_running {
            let word = if condition_is_true(Some(status), "Ready") {
                "Running"
            } else {
                "NotReady"
            };
            reason = word.to_owned();
        }
    }
    if meta::is_deleting(pod) {
        if status.text("reason") == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if !matches!(phase, "Failed" | "Succeeded") {
            reason = "Terminating".to_owned();
        }
    }
    let mut restarts_text = restarts.count.to_string();
    if restarts.count != 0 && !restarts.last.is_empty() {
        restarts_text.push_str(&format!(" ({} ago)", since(&restarts.last, now)));
    }
    let ip = status
        .objects("podIPs")
        .next()
        .map_or(status.text("podIP"), |(_, ip)| ip.text("ip"));
    let gates = spec.list("readinessGates").len();
    let gates_text = if gates == 0 {
        NONE.to_owned()
    } else {
        let passed = spec
            .objects("readinessGates")
            .filter(|(_, g)| condition_is_true(Some(status), g.text("conditionType")))
            .count();
        format!("{passed}/{gates}")
    };
    vec![
        json!(meta::name(pod)),
        json!(format!("{ready}/{total}")),
        json!(reason),
        json!(restarts_text),
        json!(age(pod, now)),
        json!(or(ip, NONE)),
        json!(or(spec.text("nodeName"), NONE)),
        json!(or(status.text("nominatedNodeName"), NONE)),
        json!(gates_text),
    ]
}

/// The conditions of a pod's row: whether it is over. `kubectl` hides such rows on request.
pub(super) fn row_conditions(pod: &Object) -> Vec<Value> {
    let condition = |reason: &str, message: &str| {
        vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
    };
    match pod.object("status").map_or("", |s| s.text("phase")) {
        "Succeeded" => condition("Succeeded", "The pod has completed successfully."),
        "Failed" => condition("Failed", "The pod failed."),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: Value) -> String {
        let now: Timestamp = "2030-01-01T00:10:00Z".parse().unwrap();
        let cells = cells(value.as_object().unwrap(), now);
        cells
            .iter()
            .skip(1)
            .take(4)
            .map(|c| c.as_str().unwrap())
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn words_for_pods() {
        let metadata = json!({"name": "p", "creationTimestamp": "2030-01-01T00:00:00Z"});
        let spec = json!({"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]});
        for (status, expected) in [
            (json!({"phase": "Pending"}), "0/1|Pending|0|10m"),
            (
                json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true, "restartCount": 2,
                    "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": "2030-01-01T00:05:00Z"}}}]}),
                "1/1|Running|2 (5m ago)|10m",
            ),
            (
                json!({"phase": "Running", "containerStatuses": [{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}),
                "0/1|CrashLoopBackOff|0|10m",
            ),
            (
                json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}),
                "0/1|Init:0/1|0|10m",
            ),
            (
                json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
                "0/1|ExitCode:3|0|10m",
            ),
        ] {
            assert_eq!(
                row(json!({"metadata": metadata, "spec": spec, "status": status})),
                expected
            );
        }
        let deleted = json!({"metadata": {"name": "p", "deletionTimestamp": "2030-01-01T00:00:00Z"}, "spec": spec, "status": {"phase": "Running"}});
        assert_eq!(row(deleted), "0/1|Terminating|0|<unknown>");
    }
}
