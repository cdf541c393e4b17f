//! One pod's `status`, from the runtime's view and what the kubelet knows. Pure.

use std::{collections::HashMap, net::IpAddr};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{HostIP, Pod, PodCondition, PodIP, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    conditions::conditions,
    containers::{Statuses, container_statuses},
    phase::pod_phase,
};
use crate::{
    allocation::PodResources,
    observed::ObservedPod,
    pod::host_network,
    resources::{effective_resources, qos_class},
};

/// What a status is made from, beside the pod.
#[derive(Clone, Debug, Default)]
pub struct StatusInputs {
    /// Now.
    pub now: Timestamp,
    /// When the kubelet first saw the pod.
    pub start_time: Option<Timestamp>,
    /// The node's addresses.
    pub host_ips: Vec<IpAddr>,
    /// The runtime's name, which container ids begin with.
    pub runtime_name: String,
    /// Why containers are not started: reason and message by name.
    pub waiting: HashMap<String, (String, String)>,
    /// Containers that pass their readiness probes (or have none), by id.
    pub ready: HashMap<String, bool>,
    /// Containers that passed their startup probes (or have none), by id.
    pub started: HashMap<String, bool>,
    /// The status before this one: transition times and what must not go back come from here.
    pub previous: PodStatus,
    /// The kubelet ended the pod: phase, reason, message.
    pub verdict: Option<(String, String, String)>,
    /// How far a resize is.
    pub resize: Vec<PodCondition>,
    /// What the pod's cgroups have, where it may differ from the spec.
    pub actuated: PodResources,
    /// The pod is being stopped, and nothing is started any more.
    pub terminating: bool,
    /// Nothing of it runs any more, and nothing will.
    pub terminated: bool,
}

/// Makes the status.
pub fn generate_status(pod: &Pod, observed: &ObservedPod, inputs: &StatusInputs) -> PodStatus {
    let statuses: Statuses = container_statuses(pod, observed, inputs);
    let mut phase = pod_phase(pod, &statuses, inputs.terminated).to_owned();
    let (mut reason, mut message) = (None, None);
    if let Some((to, why, text)) = &inputs.verdict {
        if !to.is_empty() {
            phase.clone_from(to);
        }
        reason = Some(why.clone()).filter(|why| !why.is_empty());
        message = Some(text.clone()).filter(|text| !text.is_empty());
    }
    // What has ended stays ended.
    if let Some(before @ ("Succeeded" | "Failed")) = inputs.previous.phase.as_deref() {
        before.clone_into(&mut phase);
        reason = inputs.previous.reason.clone().or(reason);
        message = inputs.previous.message.clone().or(message);
    }
    let ips = pod_ips(pod, observed, inputs);
    let conditions = conditions(pod, observed, &phase, &statuses, inputs);
    let present = inputs.actuated.put_into(pod);
    let host_ips: Vec<String> = inputs.host_ips.iter().map(ToString::to_string).collect();
    PodStatus {
        conditions: Some(conditions),
        container_statuses: Some(statuses.regular).filter(|list| !list.is_empty()),
        init_container_statuses: Some(statuses.init).filter(|list| !list.is_empty()),
        ephemeral_container_statuses: Some(statuses.ephemeral).filter(|list| !list.is_empty()),
        host_ip: host_ips.first().cloned(),
        host_ips: Some(
            host_ips
                .into_iter()
                .map(|ip| HostIP { ip })
                .collect::<Vec<_>>(),
        )
        .filter(|ips| !ips.is_empty()),
        pod_ip: ips.first().cloned(),
        pod_ips: Some(ips.into_iter().map(|ip| PodIP { ip }).collect::<Vec<_>>())
            .filter(|ips| !ips.is_empty()),
        phase: Some(phase),
        reason,
        message,
        allocated_resources: effective_resources(pod).requests,
        resources: Some(effective_resources(present.as_ref().unwrap_or(pod))),
        observed_generation: pod.metadata.generation,
        qos_class: Some(qos_class(pod).as_str().to_owned()),
        start_time: inputs
            .previous
            .start_time
            .clone()
            .or(inputs.start_time.map(Time)),
        ..PodStatus::default()
    }
}

/// The pod's addresses, primary first.
fn pod_ips(pod: &Pod, observed: &ObservedPod, inputs: &StatusInputs) -> Vec<String> {
    let before = inputs.previous.pod_ips.iter().flatten();
    let before = before.map(|ip| ip.ip.clone()).collect::<Vec<_>>();
    if !host_network(pod) {
        // A pod that has ended keeps the addresses it had.
        return observed
            .ready_sandbox()
            .map_or(before, |sandbox| sandbox.ips.clone());
    }
    // On the node's network they are the node's, from the first status on, and stay what they were: a node may gain a second family.
    let mut ips = before;
    if ips.is_empty() {
        ips.extend(inputs.host_ips.first().map(ToString::to_string));
    }
    if let ([known], [_, second]) = (ips.as_slice(), inputs.host_ips.as_slice())
        && known.contains(':') != second.is_ipv6()
    {
        ips.push(second.to_string());
    }
    ips
}
