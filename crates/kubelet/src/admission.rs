//! Whether a pod may run on this node: the kubelet's own check of what the scheduler decided, with upstream's reasons.

use std::sync::Arc;

use client::{allows_node, tolerates};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};

use crate::{
    config::KubeletConfig,
    node::missing_features,
    pod::{containers, host_network, is_critical, is_static, spec},
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

impl Refusal {
    /// Whether another state of the node's labels and taints could let the pod in.
    pub fn is_about_the_node(&self) -> bool {
        matches!(self.reason, "NodeAffinity" | "TaintToleration")
    }
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
    let os = pod
        .metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get("kubernetes.io/os"));
    if os.is_some_and(|os| os != "linux") {
        let message =
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"
                .to_owned();
        return refuse("PodOSSelectorNodeLabelDoesNotMatch", message);
    }
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
    fits(pod, others, config, facts)?;
    let failed =
        |predicate, why: &str| refuse(predicate, format!("Predicate {predicate} failed: {why}"));
    if node.is_some_and(|node| !allows_node(spec(pod), node)) {
        return failed(
            "NodeAffinity",
            "node(s) didn't match Pod's node affinity/selector",
        );
    }
    if others.iter().any(|other| ports_clash(pod, other)) {
        return failed(
            "NodePorts",
            "node(s) didn't have free ports for the requested pod ports",
        );
    }
    if node.is_some_and(|node| is_driven_away(pod, node)) {
        return failed(
            "TaintToleration",
            "node(s) had taints that the pod didn't tolerate",
        );
    }
    Ok(())
}

/// Whether the node has a `NoExecute` taint that the pod does not tolerate. Static pods are asked for by the node itself.
fn is_driven_away(pod: &Pod, node: &Node) -> bool {
    let taints = node
        .spec
        .iter()
        .flat_map(|spec| spec.taints.iter().flatten());
    let mut taints = taints.filter(|taint| taint.effect == "NoExecute");
    let is_tolerated = |taint: &Taint| {
        let tolerations = spec(pod).tolerations.as_deref().unwrap_or_default();
        tolerations
            .iter()
            .any(|toleration| tolerates(toleration, taint))
    };
    !is_static(pod) && taints.any(|taint| !is_tolerated(taint))
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judge(pod: Value, node: Value) -> Result<(), &'static str> {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let node: Node = serde_json::from_value(node).unwrap();
        let config = KubeletConfig::new("node");
        let facts = NodeFacts::default();
        let verdict = admit(&pod, &[], &config, &facts, Some(&node));
        verdict.map_err(|refusal| refusal.reason)
    }

    #[test]
    fn a_pod_must_want_this_node() {
        let node = json!({"metadata": {"name": "node", "labels": {"zone": "a"}}});
        let zone = |zone: &str| {
            json!({"spec": {"containers": [], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]},
            ]}}}}})
        };
        assert_eq!(judge(zone("a"), node.clone()), Ok(()));
        assert_eq!(judge(zone("b"), node.clone()), Err("NodeAffinity"));
        let selector = json!({"spec": {"containers": [], "nodeSelector": {"zone": "b"}}});
        assert_eq!(judge(selector, node.clone()), Err("NodeAffinity"));
        let other_os = json!({"metadata": {"labels": {"kubernetes.io/os": "plan9"}}});
        assert_eq!(
            judge(other_os, node),
            Err("PodOSSelectorNodeLabelDoesNotMatch")
        );
    }

    #[test]
    fn a_taint_that_ends_pods_keeps_them_from_starting() {
        let node = json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}});
        let plain = json!({"spec": {"containers": []}});
        assert_eq!(judge(plain.clone(), node.clone()), Err("TaintToleration"));
        let tolerant = json!({"spec": {"containers": [], "tolerations": [{"operator": "Exists"}]}});
        assert_eq!(judge(tolerant, node.clone()), Ok(()));
        let mut of_the_node = plain.clone();
        of_the_node["metadata"]["annotations"] = json!({"kubernetes.io/config.source": "file"});
        assert_eq!(judge(of_the_node, node), Ok(()));
        let later = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
        assert_eq!(judge(plain, later), Ok(()));
    }
}
