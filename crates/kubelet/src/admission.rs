//! Whether a pod may run on this node: the kubelet's own check of what the scheduler decided, with upstream's reasons.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    config::KubeletConfig,
    node::missing_features,
    pod::{containers, host_network, is_critical, spec},
    pod_worker::NodeFacts,
    resources::pod_requests,
};

/// A pod that may not run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// `OutOfcpu`, `NodeAffinity`, …
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Checks a pod against the node and the pods that are there.
pub fn admit(
    pod: &Pod,
    others: &[Arc<Pod>],
    config: &KubeletConfig,
    facts: &NodeFacts,
    node: Option<&Node>,
) -> Result<(), Refusal> {
    let refuse = |reason, message: String| Err(Refusal { reason, message });
    if spec(pod).os.as_ref().is_some_and(|os| os.name != "linux") {
        let message = "Failed to admit pod as the OS field doesn't match node OS".to_owned();
        return refuse("PodOSNotSupported", message);
    }
    let missing = missing_features(pod);
    if !missing.is_empty() {
        let missing = missing.join(", ");
        let message = format!("Pod requires node features that are not available: {missing}");
        return refuse("PodFeatureUnsupported", message);
    }
    if let (Some(wanted), Some(node)) = (&spec(pod).node_selector, node) {
        let labels = node.metadata.labels.clone().unwrap_or_default();
        if wanted
            .iter()
            .any(|(key, value)| labels.get(key) != Some(value))
        {
            return refuse(
                "NodeAffinity",
                "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
                    .to_owned(),
            );
        }
    }
    fits(pod, others, config, facts)?;
    if others.iter().any(|other| ports_clash(pod, other)) {
        return refuse("NodePorts", "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports".to_owned());
    }
    Ok(())
}

fn fits(
    pod: &Pod,
    others: &[Arc<Pod>],
    config: &KubeletConfig,
    facts: &NodeFacts,
) -> Result<(), Refusal> {
    let out = |reason, resource: &str, asked: i64, used: i64, capacity: i64| {
        Err(Refusal {
            reason,
            message: format!(
                "Node didn't have enough resource: {resource}, requested: {asked}, used: {used}, capacity: {capacity}"
            ),
        })
    };
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count + 1 > i64::from(config.max_pods) {
        return out("OutOfpods", "pods", 1, count, i64::from(config.max_pods));
    }
    if is_critical(pod) {
        return Ok(());
    }
    let asked = pod_requests(pod);
    for (resource, reason, capacity) in [
        ("cpu", "OutOfcpu", facts.allocatable_milli_cpu),
        ("memory", "OutOfmemory", facts.allocatable_memory),
        (
            "ephemeral-storage",
            "OutOfephemeral-storage",
            facts.allocatable_ephemeral_storage,
        ),
    ] {
        let of = |requests: &crate::resources::Requests| {
            requests.get(resource).copied().unwrap_or_default()
        };
        let wanted = of(&asked);
        if wanted == 0 {
            continue;
        }
        let used: i64 = others.iter().map(|other| of(&pod_requests(other))).sum();
        if used + wanted > capacity {
            return out(reason, resource, wanted, used, capacity);
        }
    }
    Ok(())
}

/// Ports of the node that a pod takes: address, protocol, number.
fn host_ports(pod: &Pod) -> impl Iterator<Item = (String, String, i32)> + '_ {
    let on_host = host_network(pod);
    containers(pod)
        .iter()
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(move |port| {
            let number = port
                .host_port
                .or(on_host.then_some(port.container_port))
                .filter(|port| *port > 0)?;
            let ip = port
                .host_ip
                .clone()
                .filter(|ip| !ip.is_empty())
                .unwrap_or_else(|| "0.0.0.0".to_owned());
            Some((
                ip,
                port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                number,
            ))
        })
}

fn ports_clash(a: &Pod, b: &Pod) -> bool {
    host_ports(a).any(|(ip, protocol, port)| {
        host_ports(b).any(|(other_ip, other_protocol, other_port)| {
            let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
            port == other_port
                && protocol == other_protocol
                && (ip == other_ip || any(&ip) || any(&other_ip))
        })
    })
}
