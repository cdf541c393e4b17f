//! `status.conditions`: those that the kubelet owns. Others, such as readiness gates, belong to those who set them.

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{containers::Statuses, generate::StatusInputs};
use crate::{
    allocation::{IN_PROGRESS, PENDING},
    observed::ObservedPod,
    pod::{containers, host_network, init_containers, is_sidecar, spec},
};

/// Types of conditions that the kubelet writes; `PodScheduled` of static pods alone.
pub(super) const OWNED: [&str; 7] = [
    PENDING,
    IN_PROGRESS,
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];

/// Makes the kubelet's conditions; the pod's other ones are carried over.
pub(super) fn conditions(
    pod: &Pod,
    observed: &ObservedPod,
    phase: &str,
    statuses: &Statuses,
    inputs: &StatusInputs,
) -> Vec<PodCondition> {
    let sandbox = observed
        .ready_sandbox()
        .is_some_and(|sandbox| host_network(pod) || !sandbox.ips.is_empty());
    let initialized = initialized(pod, phase, statuses);
    let containers_ready = containers_ready(pod, phase, statuses);
    let ready = ready(pod, &containers_ready);
    let made = [
        (
            "PodReadyToStartContainers",
            Verdict {
                status: sandbox,
                reason: "",
                message: String::new(),
            },
        ),
        ("Initialized", initialized),
        ("Ready", ready),
        ("ContainersReady", containers_ready),
        ("PodScheduled", Verdict::yes()),
    ];
    let previous = inputs.previous.conditions.as_deref().unwrap_or_default();
    let mut list: Vec<_> = made
        .into_iter()
        .map(|(type_, verdict)| {
            let status = if verdict.status { "True" } else { "False" };
            let before = previous.iter().find(|condition| condition.type_ == type_);
            let since = before
                .filter(|before| before.status == status)
                .and_then(|c| c.last_transition_time.clone());
            PodCondition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: Some(verdict.reason.to_owned()).filter(|reason| !reason.is_empty()),
                message: Some(verdict.message).filter(|message| !message.is_empty()),
                observed_generation: pod.metadata.generation,
                last_transition_time: since.or(Some(Time(inputs.now))),
                ..PodCondition::default()
            }
        })
        .collect();
    if !inputs.terminated {
        list.extend(inputs.resize.iter().cloned());
    }
    let foreign = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    list.extend(
        foreign
            .filter(|condition| !OWNED.contains(&condition.type_.as_str()))
            .cloned(),
    );
    list
}

struct Verdict {
    status: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn yes() -> Self {
        Self {
            status: true,
            reason: "",
            message: String::new(),
        }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self {
            status: false,
            reason,
            message,
        }
    }
}

fn find<'a>(list: &'a [ContainerStatus], container: &Container) -> Option<&'a ContainerStatus> {
    list.iter().find(|status| status.name == container.name)
}

fn initialized(pod: &Pod, phase: &str, statuses: &Statuses) -> Verdict {
    if phase == "Succeeded" {
        return Verdict {
            status: true,
            reason: "PodCompleted",
            message: String::new(),
        };
    }
    // A regular container that started is proof enough: init containers may be gone by then.
    if statuses
        .regular
        .iter()
        .any(|status| status.started == Some(true))
    {
        return Verdict::yes();
    }
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in init_containers(pod) {
        match find(&statuses.init, container) {
            None => unknown.push(container.name.as_str()),
            Some(status) if is_sidecar(container) && status.started != Some(true) => {
                incomplete.push(container.name.as_str());
            }
            Some(status) if !is_sidecar(container) && !status.ready => {
                incomplete.push(container.name.as_str())
            }
            Some(_) => {}
        }
    }
    match message(("incomplete", &incomplete), ("unknown", &unknown)) {
        None => Verdict::yes(),
        Some(message) => Verdict::no("ContainersNotInitialized", message),
    }
}

fn containers_ready(pod: &Pod, phase: &str, statuses: &Statuses) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::no("PodCompleted", String::new()),
        "Failed" => return Verdict::no("PodFailed", String::new()),
        _ => {}
    }
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let sidecars = init_containers(pod)
        .iter()
        .filter(|container| is_sidecar(container));
    let all = sidecars
        .map(|c| (c, &statuses.init))
        .chain(containers(pod).iter().map(|c| (c, &statuses.regular)));
    for (container, list) in all {
        match find(list, container) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match message(("unready", &unready), ("unknown", &unknown)) {
        None => Verdict::yes(),
        Some(message) => Verdict::no("ContainersNotReady", message),
    }
}

fn message(bad: (&str, &[&str]), unknown: (&str, &[&str])) -> Option<String> {
    let part = |(what, names): (&str, &[&str])| {
        (!names.is_empty()).then(|| format!("containers with {what} status: [{}]", names.join(" ")))
    };
    let parts: Vec<_> = [part(unknown), part(bad)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn ready(pod: &Pod, containers_ready: &Verdict) -> Verdict {
    if !containers_ready.status {
        return Verdict::no(containers_ready.reason, containers_ready.message.clone());
    }
    let conditions: Vec<&PodCondition> = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .collect();
    let mut messages = Vec::new();
    for gate in spec(pod).readiness_gates.iter().flatten() {
        let type_ = &gate.condition_type;
        match conditions
            .iter()
            .find(|condition| condition.type_ == *type_)
        {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate {type_:?} does not exist."
            )),
            Some(condition) if condition.status != "True" => messages.push(format!(
                "the status of pod readiness gate {type_:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        Verdict::yes()
    } else {
        Verdict::no("ReadinessGatesNotReady", messages.join(", "))
    }
}
